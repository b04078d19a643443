//! Ends an attempt whose handler asks for another one when a condition is met.

use std::borrow::Cow;

use super::conditions::{bit, condition_id, met};
use crate::error::ErrorKind;
use crate::planted::planted;
use crate::store::commit::tx::Tx;
use crate::store::error::{Fault, Sql};
use crate::task::{ErrorReport, Verdict};

/// What a verdict means by now: one that waits for a condition is a failure if that counts as met, or cannot be one. Answers with the number of the
/// condition, too.
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
