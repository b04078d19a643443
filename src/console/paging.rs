//! Paging of lists: `--limit` and `--before`; and all tasks that match, page by page.

use crate::{Error, Filter, Queue, TaskId, TaskRecord};

/// Tasks of one page where all are read.
const PAGE: usize = 500;

/// All tasks that match, the newest first, a page at a time.
pub(crate) fn pages(queue: &Queue, filter: Filter) -> impl Iterator<Item = Result<Vec<TaskRecord>, Error>> {
    let mut next = Some(filter.limit(PAGE));
    std::iter::from_fn(move || {
        let filter = next.take()?;
        let page = queue.tasks(filter.clone());
        let last = page.as_ref().ok().filter(|tasks| tasks.len() == PAGE).and_then(|tasks| tasks.last());
        next = last.map(|last| filter.before_id(last.task_id));
        Some(page)
    })
}

/// How much of a list is shown, and from where on.
#[derive(Debug, clap::Args)]
pub(crate) struct Paging {
    /// At most so many
    #[arg(long, short = 'l', default_value_t = 50, value_name = "N", value_parser = at_least_one)]
    limit: usize,
    /// Older than this one: the next page
    #[arg(long, value_name = "ID")]
    before: Option<TaskId>,
}

impl Paging {
    /// The filter for one page and one row more, which shows whether there is a next page.
    pub(crate) fn filter(&self, filter: Filter) -> Filter {
        let filter = filter.limit(self.limit.saturating_add(1));
        match self.before {
            Some(id) => filter.before_id(id),
            None => filter,
        }
    }

    /// Cuts the rows to the page; true if there are more.
    pub(crate) fn cut<R>(&self, rows: &mut Vec<R>) -> bool {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        more
    }
}

/// A limit of a list.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|limit| *limit > 0).ok_or_else(|| "it is a whole number, at least 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_whether_there_is_a_next_one() {
        let paging = Paging { limit: 2, before: Some(TaskId::from_i64(9)) };
        let filter = paging.filter(Filter::new());
        assert_eq!((filter.limit, filter.before), (Some(3), Some(TaskId::from_i64(9))));
        for (found, page, more) in [(vec![8], 1, false), (vec![8, 7], 2, false), (vec![8, 7, 6], 2, true)] {
            let mut rows = found;
            assert_eq!((paging.cut(&mut rows), rows.len()), (more, page));
        }
        assert_eq!((at_least_one("1"), at_least_one("0").is_err()), (Ok(1), true));
    }
}
