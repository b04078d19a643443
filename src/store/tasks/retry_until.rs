//! Attempts whose handlers ask for another attempt when a condition is met: what such a verdict means at the settle.

use std::borrow::Cow;

use super::conditions::{bit, condition_id, met};
use crate::error::ErrorKind;
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::{Fault, Sql};
use crate::task::{ErrorReport, Verdict};

/// The verdict to settle with. A wait for a condition becomes a failure if the condition counts as met, or if the file has no room for a new
/// one. For a wait that stays, it also returns the number of the condition.
pub(super) fn judge<'v>(tx: &Tx<'_>, verdict: &'v Verdict) -> Sql<(Cow<'v, Verdict>, Option<i64>)> {
    let Verdict::Waits { condition: name } = verdict else { return Ok((Cow::Borrowed(verdict), None)) };
    let message = match condition_id(tx, name) {
        Ok(id) if met(tx.conn)? & bit(id) == 0 || planted("g20-until-waits-for-what-is-met") => {
            return Ok((Cow::Borrowed(verdict), Some(id)));
        }
        Ok(_) => format!("it asked to wait until the condition {name:?} is met, which it counts as"),
        Err(Fault::Typed(error)) if error.kind() == ErrorKind::InvalidInput => error.to_string(),
        Err(fault) => return Err(fault),
    };
    let error = ErrorReport::new("Condition", &message, "");
    Ok((Cow::Owned(Verdict::Failed { error, permanent: false, timed_out: false, retry_after: None }), None))
}
