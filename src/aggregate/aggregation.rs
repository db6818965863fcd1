//! Adds events up to sums for each cell.

use rustc_hash::FxHashMap;

use super::cell_sums::{CellSums, Overflow};
use super::delta::Cell;
use super::spill::{AggregationError, Spill};
use super::terms::{TermId, Terms};

use crate::event::{
    Event, Interaction, Item, PerDimension, Reading, RecordType, Rejection, SourceRow, StatType,
    geocode, read,
};
use crate::workspace::{TempDir, Workspace};

/// How many source rows of a day were counted, ignored and rejected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events that were counted.
    pub counted: i64,
    /// Events of a record type that is not counted.
    pub ignored: i64,
    /// Events that cannot be counted.
    pub rejected: i64,
    /// Interactions in the counted events.
    pub interactions: i64,
}

impl Figures {
    /// Adds the figures of other events.
    pub fn join(&mut self, other: Self) {
        self.counted += other.counted;
        self.ignored += other.ignored;
        self.rejected += other.rejected;
        self.interactions += other.interactions;
    }

    /// All source rows.
    pub fn events(&self) -> i64 {
        self.counted + self.ignored + self.rejected
    }
}

/// A day while it is being counted. What exceeds the memory limit is in temporary files.
#[derive(Debug)]
pub struct Aggregation {
    pub(super) terms: Terms,
    /// The indices in `cells` of each recordset's cells, by record type and stat type.
    pub(super) recordsets: FxHashMap<u128, Places>,
    pub(super) cells: Vec<(Cell, CellSums)>,
    /// The term of each geocode, by its spelling in the source.
    pub(super) geocodes: FxHashMap<Box<str>, TermId>,
    pub(super) figures: Figures,
    pub(super) rejections: Vec<Rejection>,
    pub(super) spill: Spill,
    /// In bytes.
    pub(super) memory_limit: usize,
    /// Interactions since the memory was checked.
    pub(super) since_look: usize,
    /// Rows that were added or subtracted so far.
    pub(super) taken: u64,
    /// How many there will be, if known.
    pub(super) expected: Option<u64>,
}

/// Interactions of one event to count before checking the memory again.
pub(super) const AT_ONCE: usize = 1 << 14;

pub(super) const PLACES: usize = RecordType::ALL.len() * StatType::ALL.len();
pub(super) type Places = [u32; PLACES];
pub(super) const NOWHERE: u32 = u32::MAX;

/// The longest spelling of a geocode that is kept, in bytes. Longer ones are read each time.
const LONGEST_SPELLING: usize = 1 << 12;

/// Bytes of kept spellings that count as an interaction, when deciding whether to look at the memory.
const BYTES_AS_AN_INTERACTION: usize = 1 << 6;

/// Counts of one cell from elsewhere: a row of the ledger to subtract, or a document to add.
#[derive(Clone, Copy, Debug)]
pub struct PostedRow<'a> {
    pub cell: Cell,
    pub count: i64,
    pub total: i64,
    pub maps: PerDimension<&'a [(std::borrow::Cow<'a, str>, i64)]>,
}

impl Aggregation {
    /// An empty aggregation.
    pub fn new(workspace: &Workspace) -> Self {
        Self::within(workspace.memory.for_counting(), workspace.temp_dir.clone())
    }

    /// An empty aggregation with a memory limit in bytes.
    pub(super) fn within(memory_limit: usize, temp_dir: TempDir) -> Self {
        Self {
            terms: Terms::default(),
            recordsets: FxHashMap::default(),
            cells: Vec::new(),
            geocodes: FxHashMap::default(),
            figures: Figures::default(),
            rejections: Vec::new(),
            spill: Spill::new(temp_dir),
            memory_limit,
            since_look: 0,
            taken: 0,
            expected: None,
        }
    }

    /// An empty aggregation without a limit.
    #[cfg(test)]
    pub(crate) fn without_limit() -> Self {
        let temp_dir = TempDir::new(None, None).expect("the default is not checked");
        Self::within(usize::MAX, temp_dir)
    }

    /// Says how many rows will be added or subtracted, to estimate the size of temporary files.
    #[must_use]
    pub fn expecting(mut self, rows: impl TryInto<u64>) -> Self {
        self.expected = rows.try_into().ok();
        self
    }

    /// Counts one source row.
    pub fn add(&mut self, row: SourceRow<'_>) -> Result<(), AggregationError> {
        self.taken += 1;
        match read(row) {
            Reading::Counted(event) => match self.geocode_term(event.geocode) {
                Ok(geocode) => {
                    self.figures.interactions +=
                        i64::try_from(event.interactions.len()).unwrap_or(i64::MAX);
                    self.count(event, geocode)?;
                }
                Err(defect) => self.reject(defect.reject(row.id)),
            },
            Reading::Ignored => self.figures.ignored += 1,
            Reading::Rejected(rejection) => self.reject(rejection),
        }
        Ok(())
    }

    /// Subtracts a row that the ledger already has, so that the difference remains.
    pub fn subtract(&mut self, row: PostedRow<'_>) -> Result<(), AggregationError> {
        self.join(row, i64::checked_neg)
    }

    /// Adds a row that was counted elsewhere.
    pub fn add_counted(&mut self, row: PostedRow<'_>) -> Result<(), AggregationError> {
        self.join(row, Some)
    }

    /// Adds a row after applying `signed` to each of its numbers.
    fn join(
        &mut self,
        row: PostedRow<'_>,
        signed: fn(i64) -> Option<i64>,
    ) -> Result<(), AggregationError> {
        let overflow = || Overflow(row.cell);
        self.taken += 1;
        let place = self.place(row.cell);
        let sums = &mut self.cells[place].1;
        let signed = |n: i64| signed(n).ok_or_else(overflow);
        sums.count = sums
            .count
            .checked_add(signed(row.count)?)
            .ok_or_else(overflow)?;
        sums.total = sums
            .total
            .checked_add(signed(row.total)?)
            .ok_or_else(overflow)?;
        let PerDimension {
            items,
            queries,
            geocodes,
        } = row.maps;
        for (term, n) in items {
            match Item::of(std::borrow::Cow::Borrowed(term)) {
                Item::Uuid(id) => sums.items.add_uuid(id, signed(*n)?).ok_or_else(overflow)?,
                Item::Text(id) => sums.items.others.add(self.terms.intern(&id), signed(*n)?),
            }
        }
        for (tally, terms) in [(&mut sums.queries, queries), (&mut sums.geocodes, geocodes)] {
            for (term, n) in terms {
                tally.add(self.terms.intern(term), signed(*n)?);
            }
        }
        let terms: usize = row.maps.into_iter().map(|(_, map)| map.len()).sum();
        self.keep_within_memory(1 + terms)
    }

    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// Sets the figures of events that were counted elsewhere.
    pub fn account(&mut self, figures: Figures) {
        self.figures = figures;
    }

    /// The rejections since they were last taken.
    pub fn take_rejections(&mut self) -> Vec<Rejection> {
        std::mem::take(&mut self.rejections)
    }

    /// Records a source row that cannot be counted.
    pub fn reject(&mut self, rejection: Rejection) {
        self.figures.rejected += 1;
        self.rejections.push(rejection);
    }

    /// The term of a geocode.
    fn geocode_term(&mut self, text: &str) -> Result<TermId, geocode::GeocodeDefect> {
        if let Some(term) = self.geocodes.get(text) {
            return Ok(*term);
        }
        let term = self.terms.intern(&geocode::canonical(text)?);
        if text.len() <= LONGEST_SPELLING {
            self.geocodes.insert(text.into(), term);
            // Unusual spellings may take more memory than the interactions.
            self.since_look += text.len() / BYTES_AS_AN_INTERACTION;
        }
        Ok(term)
    }

    fn count(&mut self, event: Event<'_>, geocode: TermId) -> Result<(), AggregationError> {
        let Event {
            record_type,
            stat_type,
            interactions,
            query_hash,
            geocode: geocode_text,
        } = event;
        self.figures.counted += 1;
        let mut geocode = Some(geocode);
        let mut interactions = interactions.into_iter();
        // One event may name a million recordsets, so memory is checked after every batch.
        while let Some(geocode_term) = geocode
            && !interactions.as_slice().is_empty()
        {
            let query = stat_type
                .counts_queries()
                .then(|| self.terms.intern(query_hash));
            let many = interactions.len().min(AT_ONCE);
            for Interaction {
                recordset_id,
                item,
                records,
            } in interactions.by_ref().take(AT_ONCE)
            {
                let cell = Cell {
                    recordset_id,
                    record_type,
                    stat_type,
                };
                let place = self.place(cell);
                let sums = &mut self.cells[place].1;
                sums.add(records, item, query, geocode_term, &mut self.terms)
                    .ok_or(Overflow(cell))?;
            }
            self.keep_within_memory(many)?;
            if interactions.as_slice().is_empty() {
                break;
            }
            // The memory check may have forgotten the terms. This geocode is valid: it was read above.
            geocode = self.geocode_term(geocode_text).ok();
        }
        Ok(())
    }

    /// The index of a cell in `cells`; adds the cell if it is new.
    fn place(&mut self, cell: Cell) -> usize {
        let places = self
            .recordsets
            .entry(cell.recordset_id.as_u128())
            .or_insert([NOWHERE; PLACES]);
        let place =
            &mut places[cell.record_type as usize * StatType::ALL.len() + cell.stat_type as usize];
        if *place == NOWHERE {
            *place = u32::try_from(self.cells.len())
                .expect("four billion cells exceed the memory first");
            self.cells.push((cell, CellSums::default()));
        }
        *place as usize
    }
}

impl CellSums {
    /// Adds one interaction; `None` if a sum overflows. An interaction with 0 records adds no terms.
    fn add(
        &mut self,
        records: i64,
        item: Option<Item<'_>>,
        query: Option<TermId>,
        geocode: TermId,
        terms: &mut Terms,
    ) -> Option<()> {
        self.count = self.count.checked_add(1)?;
        self.total = self.total.checked_add(records)?;
        if records == 0 {
            return Some(());
        }
        match item {
            Some(Item::Uuid(id)) => self.items.add_uuid(id, records)?,
            Some(Item::Text(id)) => self.items.others.add(terms.intern(&id), records),
            None => {}
        }
        if let Some(query) = query {
            self.queries.add(query, records);
        }
        self.geocodes.add(geocode, records);
        Some(())
    }
}
