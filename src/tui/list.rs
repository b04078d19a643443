//! A list on the screen: a page of rows, the cursor, what is selected.

use std::collections::BTreeSet;

use super::filter_box::Query;
use super::requests::{Edge, Listed};
use crate::inspect::FailureGroup;
use crate::{DeadLetter, TaskId, TaskRecord};

/// A row of a list.
pub(super) trait Row {
    /// Its identity while the list changes.
    fn id(&self) -> TaskId;
    /// Its task name.
    fn name(&self) -> &str;
}

impl Row for TaskRecord {
    fn id(&self) -> TaskId {
        self.task_id
    }

    fn name(&self) -> &str {
        &self.task_name
    }
}

impl Row for DeadLetter {
    fn id(&self) -> TaskId {
        self.task_id
    }

    fn name(&self) -> &str {
        &self.task_name
    }
}

impl<R: Row> Row for Listed<R> {
    fn id(&self) -> TaskId {
        self.row.id()
    }

    fn name(&self) -> &str {
        self.row.name()
    }
}

impl Row for FailureGroup {
    fn id(&self) -> TaskId {
        self.newest
    }

    fn name(&self) -> &str {
        &self.task_name
    }
}

/// Where the cursor goes when the next page comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Landing {
    /// It stays with its row.
    #[default]
    Same,
    Top,
    Bottom,
}

/// A step of the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CursorStep {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
}

/// A list.
#[derive(Debug, Clone)]
pub(super) struct List<R> {
    pub query: Query,
    pub edge: Edge,
    pub rows: Vec<R>,
    pub cursor: usize,
    /// The first row that is seen.
    pub offset: usize,
    pub selected: BTreeSet<TaskId>,
    /// Whether the rows were read; there are none before that.
    pub is_known: bool,
    /// Whether there is nothing beyond these rows: they are all that match the query.
    pub is_whole: bool,
    /// Whether the last row is the oldest there is.
    pub is_last: bool,
    landing: Landing,
}

impl<R> Default for List<R> {
    fn default() -> List<R> {
        List {
            query: Query::default(),
            edge: Edge::Newest,
            rows: Vec::new(),
            cursor: 0,
            offset: 0,
            selected: BTreeSet::new(),
            is_known: false,
            is_whole: false,
            is_last: false,
            landing: Landing::Same,
        }
    }
}

impl<R: Row> List<R> {
    /// Shows what matches another filter, from its first page. The selection is cleared.
    pub fn filter_by(&mut self, query: Query) {
        *self = List { query, ..List::default() };
    }

    /// Begins anew at its top, as in another order.
    pub fn restart(&mut self) {
        (self.edge, self.landing) = (Edge::Newest, Landing::Top);
    }

    /// The one task name of all rows; none if they have several, or there are no rows.
    pub fn one_name(&self) -> Option<&str> {
        let name = self.rows.first()?.name();
        self.rows.iter().all(|row| row.name() == name).then_some(name)
    }

    /// The row under the cursor.
    pub fn current(&self) -> Option<&R> {
        self.rows.get(self.cursor)
    }

    /// Takes a page as it was found. `page` is how many rows it could have; none: these are all there are.
    pub fn show(&mut self, rows: Vec<R>, page: Option<usize>) {
        let was = self.current().map(Row::id);
        self.is_known = true;
        self.is_whole = page.is_none();
        self.is_last = page.is_none_or(|page| rows.len() < page) || matches!(self.edge, Edge::Oldest);
        let same = was.and_then(|id| rows.iter().position(|row| row.id() == id));
        self.cursor = match std::mem::take(&mut self.landing) {
            Landing::Same => same.unwrap_or(self.cursor),
            Landing::Top => 0,
            Landing::Bottom => usize::MAX,
        };
        self.cursor = self.cursor.min(rows.len().saturating_sub(1));
        self.rows = rows;
    }

    /// Moves the cursor, if need be to another page.
    pub fn step(&mut self, step: CursorStep, height: usize) {
        let last = self.rows.len().saturating_sub(1);
        match step {
            CursorStep::Up if self.cursor > 0 => self.cursor -= 1,
            CursorStep::Up => self.page_up(Landing::Bottom),
            CursorStep::Down if self.cursor < last => self.cursor += 1,
            CursorStep::Down => self.page_down(),
            CursorStep::PageUp if self.cursor > 0 && self.is_whole => {
                self.cursor = self.cursor.saturating_sub(height.max(1));
            }
            CursorStep::PageUp if self.edge == Edge::Newest => self.cursor = 0,
            CursorStep::PageUp => self.page_up(Landing::Top),
            CursorStep::PageDown if self.is_whole => self.cursor = (self.cursor + height.max(1)).min(last),
            CursorStep::PageDown if self.is_last => self.cursor = last,
            CursorStep::PageDown => self.page_down(),
            CursorStep::Home if self.edge == Edge::Newest => self.cursor = 0,
            CursorStep::Home => {
                self.edge = Edge::Newest;
                self.landing = Landing::Top;
            }
            CursorStep::End if self.is_last => self.cursor = last,
            CursorStep::End => {
                self.edge = Edge::Oldest;
                self.landing = Landing::Bottom;
            }
        }
        self.scroll(height);
    }

    fn page_up(&mut self, landing: Landing) {
        if let Some(first) = self.rows.first().filter(|_| self.edge != Edge::Newest) {
            self.edge = Edge::Above(first.id());
            self.landing = landing;
        }
    }

    fn page_down(&mut self) {
        if let Some(last) = self.rows.last().filter(|_| !self.is_last) {
            self.edge = Edge::Below(last.id());
            self.landing = Landing::Top;
        }
    }

    /// Scrolls so that the cursor is visible.
    pub fn scroll(&mut self, height: usize) {
        let lowest = (self.cursor + 1).saturating_sub(height.max(1));
        self.offset = self.offset.clamp(lowest, self.cursor.max(lowest));
        self.offset = self.offset.min(self.rows.len().saturating_sub(height.max(1)).max(lowest));
    }

    /// Toggles the selection of the row under the cursor, and moves down.
    pub fn toggle(&mut self, height: usize) {
        let Some(id) = self.current().map(Row::id) else { return };
        if !self.selected.remove(&id) {
            self.selected.insert(id);
        }
        if self.cursor + 1 < self.rows.len() {
            self.step(CursorStep::Down, height);
        }
    }

    /// Selects all rows of the page, or none of them if all are.
    pub fn toggle_page(&mut self) {
        let page: BTreeSet<TaskId> = self.rows.iter().map(Row::id).collect();
        if page.is_subset(&self.selected) {
            self.selected.retain(|id| !page.contains(id));
        } else {
            self.selected.extend(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Row for i64 {
        fn id(&self) -> TaskId {
            TaskId::from_i64(*self)
        }

        fn name(&self) -> &str {
            if *self < 0 { "negative" } else { "natural" }
        }
    }

    fn first_page() -> List<i64> {
        let mut list = List::default();
        list.show(vec![30, 29, 28], Some(3));
        list
    }

    #[test]
    fn the_cursor_leaves_the_page_where_there_is_more() {
        let mut list = first_page();
        list.step(CursorStep::Up, 3);
        assert_eq!((list.edge, list.cursor), (Edge::Newest, 0), "nothing is above the first page");
        (0..3).for_each(|_| list.step(CursorStep::Down, 3));
        assert_eq!(list.edge, Edge::Below(TaskId::from_i64(28)));
        list.show(vec![27, 26], Some(3));
        assert_eq!((list.cursor, list.is_last), (0, true));
        (0..5).for_each(|_| list.step(CursorStep::Down, 3));
        assert_eq!(
            (list.edge, list.cursor),
            (Edge::Below(TaskId::from_i64(28)), 1),
            "nothing is below the last page"
        );
        (0..2).for_each(|_| list.step(CursorStep::Up, 3));
        assert_eq!(list.edge, Edge::Above(TaskId::from_i64(27)));
        list.show(vec![30, 29, 28], Some(3));
        assert_eq!(*list.current().unwrap(), 28, "the cursor comes from below");
    }

    #[test]
    fn a_name_that_all_rows_share_is_known() {
        let mut list = first_page();
        assert_eq!(list.one_name(), Some("natural"));
        list.show(vec![1, -1], Some(3));
        assert_eq!(list.one_name(), None);
        list.show(Vec::new(), Some(3));
        assert_eq!(list.one_name(), None);
    }

    #[test]
    fn pages_and_ends_are_reached_with_one_key() {
        let mut list = first_page();
        list.step(CursorStep::PageDown, 3);
        assert_eq!(list.edge, Edge::Below(TaskId::from_i64(28)));
        list.step(CursorStep::End, 3);
        assert_eq!(list.edge, Edge::Oldest);
        list.show(vec![3, 2, 1], Some(3));
        assert_eq!((*list.current().unwrap(), list.is_last), (1, true));
        list.step(CursorStep::PageUp, 3);
        assert_eq!(list.edge, Edge::Above(TaskId::from_i64(3)));
        list.step(CursorStep::Home, 3);
        assert_eq!(list.edge, Edge::Newest);
        list.show(vec![30, 29, 28], Some(3));
        assert_eq!(list.cursor, 0);
        list.step(CursorStep::Down, 3);
        list.step(CursorStep::Home, 3);
        list.step(CursorStep::Down, 3);
        list.show(vec![30, 29, 28], Some(3));
        assert_eq!(list.cursor, 1, "it had landed already");
    }

    #[test]
    fn the_cursor_stays_with_its_row_while_rows_come_and_go() {
        let mut list = first_page();
        list.step(CursorStep::Down, 3);
        list.show(vec![32, 31, 30, 29], Some(4));
        assert_eq!(*list.current().unwrap(), 29);
        list.show(vec![32], Some(4));
        assert_eq!(*list.current().unwrap(), 32);
        list.show(vec![], Some(4));
        assert_eq!(list.current(), None);
    }

    #[test]
    fn a_selection_outlives_its_page_but_not_its_query() {
        let mut list = first_page();
        list.toggle(3);
        assert_eq!((list.selected.len(), list.cursor), (1, 1));
        list.toggle_page();
        assert_eq!(list.selected.len(), 3);
        list.show(vec![27, 26], Some(3));
        list.toggle_page();
        assert_eq!(list.selected.len(), 5);
        list.toggle_page();
        assert_eq!(list.selected.len(), 3, "the other page's stay");
        list.filter_by(Query::parse("x").unwrap());
        assert!(list.selected.is_empty() && list.rows.is_empty());
    }

    #[test]
    fn a_whole_list_scrolls_within_itself() {
        let mut list = List::default();
        list.show((0..100).rev().collect(), None);
        list.step(CursorStep::PageDown, 10);
        assert_eq!((list.cursor, list.offset), (10, 1));
        list.step(CursorStep::End, 10);
        assert_eq!((list.cursor, list.offset, list.edge), (99, 90, Edge::Newest));
        list.step(CursorStep::PageUp, 10);
        list.step(CursorStep::Up, 10);
        assert_eq!((list.cursor, list.offset), (88, 88));
        list.show((0..5).rev().collect(), None);
        list.scroll(10);
        assert_eq!((list.cursor, list.offset), (4, 0));
    }
}
