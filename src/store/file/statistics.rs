//! Deletes the statistics that `ANALYZE` and `PRAGMA optimize` have stored about our tables.
//!
//! The statements of the store name their indexes or look up single rows by id, so statistics
//! cannot change their plans. SQLite has no clause that does the same for a range of row ids: if
//! the statistics say that a table has two rows, it scans the whole table. Statistics help none of
//! our statements, so they are deleted when the file is opened, and from time to time afterwards.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::store::error::Sql;

/// Where SQLite stores statistics; the second one only if it was built to use samples.
const TABLES: [&str; 2] = ["sqlite_stat1", "sqlite_stat4"];

/// Whether a table has statistics about our tables.
fn are_in(conn: &Connection, table: &str) -> Sql<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)";
    if !conn.query_row(sql, [table], |row| row.get(0))? {
        return Ok(false);
    }
    let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE tbl GLOB 'perdura_*')");
    Ok(conn.query_row(&sql, [], |row| row.get(0))?)
}

/// Deletes the statistics about our tables. Every connection then reads the schema, and what is left of the statistics, anew.
pub(crate) fn forget_statistics(conn: &Connection) -> Sql<()> {
    let mut found = Vec::new();
    for table in TABLES {
        if are_in(conn, table)? {
            found.push(table);
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    for table in found {
        tx.execute(&format!("DELETE FROM {table} WHERE tbl GLOB 'perdura_*'"), [])?;
    }
    // Other connections notice a change of the schema, and no change of the statistics alone.
    tx.execute_batch("CREATE VIEW perdura_reload AS SELECT 1; DROP VIEW perdura_reload")?;
    tx.commit()?;
    Ok(conn.execute_batch("ANALYZE sqlite_schema")?) // reads them into this connection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_each_kind_are_deleted_and_those_of_others_stay() {
        for (table, columns) in [
            ("sqlite_stat1", "(tbl, idx, stat) VALUES ('perdura_tasks', NULL, '2'), ('orders', NULL, '2')"),
            (
                "sqlite_stat4",
                "(tbl, idx, neq, nlt, ndlt, sample) VALUES ('perdura_tasks', NULL, '1', '1', '1', x'00'), ('orders', NULL, '1', '1', '1', x'00')",
            ),
        ] {
            let conn = Connection::open_in_memory().unwrap();
            let make = "CREATE TABLE perdura_tasks (x); CREATE TABLE orders (x); PRAGMA writable_schema = ON;
                        CREATE TABLE sqlite_stat1 (tbl, idx, stat);
                        CREATE TABLE sqlite_stat4 (tbl, idx, neq, nlt, ndlt, sample);
                        PRAGMA writable_schema = OFF;";
            conn.execute_batch(make).unwrap();
            forget_statistics(&conn).unwrap();
            conn.execute_batch(&format!("INSERT INTO {table} {columns}")).unwrap();
            assert!(are_in(&conn, table).unwrap(), "{table}");
            forget_statistics(&conn).unwrap();
            let sql = format!("SELECT group_concat(tbl) FROM {table}");
            let left: String = conn.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!((are_in(&conn, table).unwrap(), left.as_str()), (false, "orders"), "{table}");
        }
    }
}
