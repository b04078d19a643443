//! The connection on which a program's own statements run, in one transaction with ours.
//!
//! Its commits are as durable as the writer's. Otherwise it is like a connection that the program
//! opens itself: triggers, views and foreign keys work, and the program's functions and collations
//! are there. SQLite's authorizer refuses, when a statement is prepared, whatever would end the
//! transaction, change settings, or touch our tables; and a commit that is not ours becomes a
//! rollback.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;

use super::busy;
use super::checkpoint::follow_wal;
use super::closure;
use super::connect::{Connector, connect, harden};
use super::opening::OnConnection;
use super::pragmas::set_up_writer;
use crate::error::{Error, ErrorKind};
use crate::planted::planted;
use crate::store::error::Sql;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, lock};

pub(crate) struct CallerConnection {
    conn: Connection,
    gate: Arc<StatementGuard>,
}

/// Whose statements are being prepared.
#[derive(Default)]
struct StatementGuard {
    is_caller: AtomicBool,
    /// What the last statement of the program was refused, if it was.
    refused: Mutex<Option<String>>,
}

impl CallerConnection {
    /// # Errors
    /// `InvalidConfig` if the program's set-up fails; those of the disk.
    pub(crate) fn open(connector: &Connector, on_connection: Option<&OnConnection>) -> Sql<CallerConnection> {
        let Connector { path, vfs, settings, identity, .. } = connector;
        identity.check()?;
        let conn = connect(path, vfs.as_deref(), settings)?;
        if let Some(set_up) = on_connection {
            set_up(&conn).map_err(|e| {
                Error::new(ErrorKind::InvalidConfig, "what on_connection does to a connection failed")
                    .with_source(e)
            })?;
            harden(&conn, vfs.as_deref(), settings)?; // `set_up` may have changed any setting
        }
        set_up_writer(&conn, settings)?;
        follow_wal(&conn);
        allow_schema(&conn)?;
        let gate = Arc::new(StatementGuard::default());
        let judge = gate.clone();
        conn.authorizer(Some(move |context: AuthContext<'_>| judge.decide(&context)))?;
        let judge = gate.clone();
        conn.commit_hook(Some(move || judge.is_caller.load(Ordering::Acquire)))?; // true rolls back
        Ok(CallerConnection { conn, gate })
    }

    /// Closes it as the death of its process would: without a WAL checkpoint.
    pub(crate) fn abandon(self) {
        let _ = self.conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    /// For our statements.
    pub(crate) fn connection(&self) -> &Connection {
        &self.conn
    }

    /// Runs the program's statements, between ours.
    pub(crate) fn theirs<R>(&self, act: impl FnOnce() -> R) -> R {
        let _turn = TurnGuard::begin(self, true);
        act()
    }

    /// Runs our statements, between the program's.
    pub(crate) fn ours<R>(&self, act: impl FnOnce() -> R) -> R {
        let _turn = TurnGuard::begin(self, false);
        act()
    }

    /// What the program's last statement was refused, in words; `None` if it was not refused.
    pub(crate) fn refused(&self) -> Option<String> {
        lock(&self.gate.refused).take()
    }
}

/// Whose turn it is; dropping it restores the previous turn, also when a closure panics.
struct TurnGuard<'c> {
    of: &'c CallerConnection,
    was_caller: bool,
}

impl TurnGuard<'_> {
    fn begin(of: &CallerConnection, is_caller: bool) -> TurnGuard<'_> {
        let was_caller = of.gate.is_caller.load(Ordering::Acquire);
        let turn = TurnGuard { of, was_caller };
        turn.set(is_caller);
        turn
    }

    fn set(&self, is_caller: bool) {
        self.of.gate.is_caller.store(is_caller, Ordering::Release);
        closure::set_inside(is_caller);
        // A cached statement was authorized for one side, and the other must not find it.
        self.of.conn.flush_prepared_statement_cache();
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        self.set(self.was_caller);
    }
}

/// Enables what the program's schema needs and our own connections do without.
fn allow_schema(conn: &Connection) -> Sql<()> {
    for config in [
        DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER,
        DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW,
        DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY,
        DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, // its triggers call its functions
        DbConfig::SQLITE_DBCONFIG_DQS_DML,
        DbConfig::SQLITE_DBCONFIG_DQS_DDL,
    ] {
        let is_foreign_keys = matches!(config, DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY);
        let on = !(is_foreign_keys && planted("g17-foreign-keys-of-the-program-are-off"));
        if conn.set_db_config(config, on)? != on {
            return Err(Error::internal(format!("SQLite did not take {config:?}")).into());
        }
    }
    // SQLite reduces these to the maximum that it was built with.
    for limit in [
        Limit::SQLITE_LIMIT_LENGTH,
        Limit::SQLITE_LIMIT_SQL_LENGTH,
        Limit::SQLITE_LIMIT_VDBE_OP,
        Limit::SQLITE_LIMIT_TRIGGER_DEPTH,
    ] {
        conn.set_limit(limit, i32::MAX)?;
    }
    busy::wait_for_locks(conn)?;
    Ok(())
}

impl StatementGuard {
    fn decide(&self, context: &AuthContext<'_>) -> Authorization {
        if !self.is_caller.load(Ordering::Acquire) {
            return Authorization::Allow;
        }
        let refused = refusal(&context.action);
        let verdict = if refused.is_some() { Authorization::Deny } else { Authorization::Allow };
        *lock(&self.refused) = refused;
        verdict
    }
}

/// What the program is refused, if it is refused this action.
fn refusal(action: &AuthAction<'_>) -> Option<String> {
    match action {
        AuthAction::Transaction { .. } => Some("BEGIN, COMMIT or ROLLBACK".to_owned()),
        AuthAction::Savepoint { .. } => Some("SAVEPOINT".to_owned()),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => Some("ATTACH or DETACH".to_owned()),
        AuthAction::Pragma { pragma_name, .. } => Some(format!("PRAGMA {pragma_name}")),
        _ if planted("g17-a-program-can-write-to-our-tables") => None,
        _ => names(action).into_iter().flatten().find(|name| is_ours(name)).map(str::to_owned),
    }
}

fn is_ours(name: &str) -> bool {
    const PREFIX: &str = "perdura_";
    name.get(..PREFIX.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(PREFIX))
}

/// The names of the tables, indexes, triggers or views that an action touches.
fn names<'a>(action: &AuthAction<'a>) -> [Option<&'a str>; 2] {
    use AuthAction as A;
    match *action {
        A::CreateIndex { index_name: a, table_name: b }
        | A::CreateTempIndex { index_name: a, table_name: b }
        | A::DropIndex { index_name: a, table_name: b }
        | A::DropTempIndex { index_name: a, table_name: b }
        | A::CreateTrigger { trigger_name: a, table_name: b }
        | A::CreateTempTrigger { trigger_name: a, table_name: b }
        | A::DropTrigger { trigger_name: a, table_name: b }
        | A::DropTempTrigger { trigger_name: a, table_name: b } => [Some(a), Some(b)],
        A::CreateTable { table_name }
        | A::CreateTempTable { table_name }
        | A::DropTable { table_name }
        | A::DropTempTable { table_name }
        | A::Insert { table_name }
        | A::Delete { table_name }
        | A::Read { table_name, .. }
        | A::Update { table_name, .. }
        | A::AlterTable { table_name, .. }
        | A::Analyze { table_name }
        | A::CreateVtable { table_name, .. }
        | A::DropVtable { table_name, .. } => [Some(table_name), None],
        A::CreateView { view_name }
        | A::CreateTempView { view_name }
        | A::DropView { view_name }
        | A::DropTempView { view_name } => [Some(view_name), None],
        A::Reindex { index_name } => [Some(index_name), None],
        _ => [None, None],
    }
}
