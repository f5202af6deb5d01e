//! Rows that are inserted: `INSERT … VALUES (?, …), (?, …), …`, the statement that a server carries out
//! with the least work for a row.

use sqlx::{MySql, MySqlConnection, QueryBuilder, query_builder::Separated};

/// As many rows as a statement may have. Few sizes, so that no more statements are prepared than a
/// connection keeps ([`super::WRITER_STATEMENTS`]); every small one, so that a usual batch is one
/// statement.
const SIZES: [usize; 18] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 32,
];

/// The rows cut into statements, in their order and each as long as may be.
pub fn cut<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().rev().find(|size| *size <= rows.len())?;
        let (statement, rest) = rows.split_at(size);
        rows = rest;
        Some(statement)
    })
}

/// A row of an insert: one value after the other, in the order of the columns.
pub type Values<'a> = Separated<'a, MySql, &'static str>;

/// Inserts rows in as many statements as [`cut`] says: `head VALUES … tail`. `values` says the values
/// of a row. How many rows the server says were affected.
///
/// # Errors
/// What the driver says; the statements before it have been carried out.
pub async fn insert<T>(
    connection: &mut MySqlConnection,
    head: &str,
    rows: &[T],
    tail: &str,
    values: impl Fn(Values<'_>, &T),
) -> Result<u64, sqlx::Error> {
    let mut affected = 0;
    for rows in cut(rows) {
        let done = statement(head, rows, tail, &values)
            .build()
            .execute(&mut *connection)
            .await?;
        affected += done.rows_affected();
    }
    Ok(affected)
}

/// The statement that inserts all of some rows.
fn statement<T>(
    head: &str,
    rows: &[T],
    tail: &str,
    values: impl Fn(Values<'_>, &T),
) -> QueryBuilder<MySql> {
    let mut statement = QueryBuilder::new(head);
    statement.push(" ");
    statement.push_values(rows, values);
    statement.push(" ");
    statement.push(tail);
    statement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_statement_and_in_its_order() {
        for number in 0..200 {
            let rows: Vec<usize> = (0..number).collect();
            let statements: Vec<_> = cut(&rows).collect();
            assert_eq!(statements.concat(), rows);
            assert!(statements.iter().all(|rows| SIZES.contains(&rows.len())));
        }
        let number = |rows: usize| cut(&vec![(); rows]).count();
        assert_eq!([0, 8, 15, 17, 64].map(number), [0, 1, 1, 2, 2]);
    }

    #[test]
    fn a_statement_has_a_mark_for_every_value() {
        let built = statement("INSERT INTO t (a, b)", &[1, 2], "tail", |mut row, n| {
            row.push_bind(*n).push_bind("text");
        });
        assert_eq!(
            built.sql().as_str(),
            "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) tail"
        );
    }
}
