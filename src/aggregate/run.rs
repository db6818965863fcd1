//! A run: cells and their sums, sorted by cell, in a compact form for a temporary file.
//!
//! A run is a sequence of blocks, each compressed by itself. It starts with a dictionary, a term each, up to an empty one
//! that ends it. A row follows for each cell. Terms in the dictionary are written as the difference to the one before;
//! others as text, so that a dictionary need not hold all terms of a day. Nothing that is read at once is in two blocks.

use std::io::{Error, ErrorKind, Read, Result, Write};

use uuid::Uuid;

use super::cell_sums::CellSums;
use super::delta::Cell;
use super::tally::Tally;
use super::terms::{TermId, Terms};
use crate::event::{RecordType, StatType};

/// Size of a block before compression. A merge holds one of each run.
const BLOCK_BYTES: usize = 1 << 18;
/// The fastest of the regular ones.
const COMPRESSION_LEVEL: i32 = 1;

/// Writes a run.
pub(super) struct RunWriter<'a, W> {
    blocks: BlockWriter<W>,
    dictionary: &'a Terms,
}

impl<'a, W: Write> RunWriter<'a, W> {
    /// Starts a run with an indexed dictionary.
    pub(super) fn new(out: W, dictionary: &'a Terms) -> Result<Self> {
        let mut blocks = BlockWriter::new(out)?;
        put_varint(&mut blocks.raw, dictionary.len() as u64);
        for id in dictionary.ids() {
            blocks.make_room()?;
            put_text(&mut blocks.raw, dictionary.text(id));
        }
        Ok(Self { blocks, dictionary })
    }

    /// Appends cells, which must be in order and follow those before. Their sums must be merged.
    pub(super) fn write(&mut self, terms: &Terms, cells: Vec<(Cell, CellSums)>) -> Result<()> {
        let places: Vec<Option<TermId>> = terms
            .ids()
            .map(|id| self.dictionary.find(terms.text(id)))
            .collect();
        // Frees each cell as soon as it is written.
        for (cell, sums) in cells {
            self.blocks.make_room()?;
            let raw = &mut self.blocks.raw;
            raw.push(1);
            raw.extend(cell.recordset_id.as_bytes());
            raw.push(cell.record_type as u8);
            raw.push(cell.stat_type as u8);
            put_number(raw, sums.count.into());
            put_number(raw, sums.total.into());
            put_varint(raw, sums.items.uuids().len() as u64);
            for (id, n) in sums.items.uuids() {
                self.blocks.make_room()?;
                self.blocks.raw.extend(id.as_bytes());
                put_number(&mut self.blocks.raw, (*n).into());
            }
            for tally in [&sums.items.others, &sums.queries, &sums.geocodes] {
                self.write_tally(tally, terms, &places)?;
            }
        }
        Ok(())
    }

    fn write_tally(
        &mut self,
        tally: &Tally,
        terms: &Terms,
        places: &[Option<TermId>],
    ) -> Result<()> {
        put_varint(&mut self.blocks.raw, tally.len() as u64);
        let mut before = 0_i128;
        for (term, n) in tally.iter() {
            self.blocks.make_room()?;
            let raw = &mut self.blocks.raw;
            if let Some(place) = places[term.index()] {
                // 0 stands for text. A term may follow itself: it has a narrow sum and a wide one.
                let place = place.index() as i128;
                put_wide_varint(raw, zigzag(place - before) + 1);
                before = place;
            } else {
                put_varint(raw, 0);
                put_text(raw, terms.text(term));
            }
            put_number(raw, n);
        }
        Ok(())
    }

    /// Ends the run, and returns its size in bytes.
    pub(super) fn finish(mut self) -> Result<u64> {
        self.blocks.make_room()?;
        self.blocks.raw.push(0);
        self.blocks.flush()?;
        self.blocks.out.flush()?;
        Ok(self.blocks.written)
    }
}

/// Reads a run.
pub(super) struct RunReader<R> {
    blocks: BlockReader<R>,
    dictionary: Terms,
    /// The numbers of the dictionary's terms among those that are merged; set when a term first occurs.
    ids: Vec<Option<TermId>>,
    cell: Option<Cell>,
}

impl<R: Read> RunReader<R> {
    /// Reads the dictionary.
    pub(super) fn new(input: R) -> Result<Self> {
        let mut blocks = BlockReader::new(input)?;
        let mut dictionary = Terms::default();
        blocks.refill()?;
        for _ in 0..blocks.varint()? {
            blocks.refill()?;
            dictionary.push(blocks.text()?);
        }
        let mut run = Self {
            blocks,
            ids: vec![None; dictionary.len()],
            dictionary,
            cell: None,
        };
        run.read_cell()?;
        Ok(run)
    }

    /// The cell of the next row; `None` after the last.
    pub(super) fn cell(&self) -> Option<Cell> {
        self.cell
    }

    pub(super) fn dictionary(&self) -> &Terms {
        &self.dictionary
    }

    /// Forgets the numbers of terms: from here on, rows are added to other terms.
    pub(super) fn forget_ids(&mut self) {
        self.ids.fill(None);
    }

    /// Adds the next row; `None` if a sum overflows.
    pub(super) fn add_to(&mut self, sums: &mut CellSums, terms: &mut Terms) -> Result<Option<()>> {
        let (count, total) = (self.blocks.long()?, self.blocks.long()?);
        let mut fits = || {
            sums.count = sums.count.checked_add(count)?;
            sums.total = sums.total.checked_add(total)?;
            Some(())
        };
        if fits().is_none() {
            return Ok(None);
        }
        for _ in 0..self.blocks.varint()? {
            self.blocks.refill()?;
            let id = Uuid::from_bytes(*self.blocks.array()?);
            if sums.items.add_uuid(id, self.blocks.long()?).is_none() {
                return Ok(None);
            }
        }
        for tally in [
            &mut sums.items.others,
            &mut sums.queries,
            &mut sums.geocodes,
        ] {
            self.add_tally_to(tally, terms)?;
        }
        self.read_cell()?;
        Ok(Some(()))
    }

    fn add_tally_to(&mut self, tally: &mut Tally, terms: &mut Terms) -> Result<()> {
        let mut place = 0_i128;
        for _ in 0..self.blocks.varint()? {
            self.blocks.refill()?;
            let step = self.blocks.wide_varint()?;
            let term = if step == 0 {
                terms.intern(self.blocks.text()?)
            } else {
                place = place.checked_add(unzigzag(step - 1)).ok_or_else(damaged)?;
                let (index, id) = usize::try_from(place)
                    .ok()
                    .and_then(|index| Some((index, self.ids.get_mut(index)?)))
                    .ok_or_else(damaged)?;
                *id.get_or_insert_with(|| terms.intern(self.dictionary.text_at(index)))
            };
            tally.add_wide(term, self.blocks.number()?);
        }
        Ok(())
    }

    fn read_cell(&mut self) -> Result<()> {
        self.blocks.refill()?;
        self.cell = match self.blocks.byte()? {
            0 => None,
            _ => Some(Cell {
                recordset_id: Uuid::from_bytes(*self.blocks.array()?),
                record_type: *RecordType::ALL
                    .get(usize::from(self.blocks.byte()?))
                    .ok_or_else(damaged)?,
                stat_type: *StatType::ALL
                    .get(usize::from(self.blocks.byte()?))
                    .ok_or_else(damaged)?,
            }),
        };
        Ok(())
    }
}

/// Compresses blocks: the length of each, then its bytes.
struct BlockWriter<W> {
    out: W,
    compressor: zstd::bulk::Compressor<'static>,
    raw: Vec<u8>,
    written: u64,
}

impl<W: Write> BlockWriter<W> {
    fn new(out: W) -> Result<Self> {
        Ok(Self {
            out,
            compressor: zstd::bulk::Compressor::new(COMPRESSION_LEVEL)?,
            raw: Vec::with_capacity(BLOCK_BYTES * 2),
            written: 0,
        })
    }

    /// Ends the block if it is full. Only what is appended between two calls is sure to be in one block.
    #[inline]
    fn make_room(&mut self) -> Result<()> {
        if self.raw.len() < BLOCK_BYTES {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        let compressed = self.compressor.compress(&self.raw)?;
        for length in [compressed.len(), self.raw.len()] {
            self.out.write_all(&(length as u64).to_le_bytes())?;
        }
        self.out.write_all(&compressed)?;
        self.written += 16 + compressed.len() as u64;
        self.raw.clear();
        Ok(())
    }
}

struct BlockReader<R> {
    input: R,
    decompressor: zstd::bulk::Decompressor<'static>,
    compressed: Vec<u8>,
    raw: Vec<u8>,
    /// What of `raw` was read.
    at: usize,
}

impl<R: Read> BlockReader<R> {
    fn new(input: R) -> Result<Self> {
        Ok(Self {
            input,
            decompressor: zstd::bulk::Decompressor::new()?,
            compressed: Vec::new(),
            raw: Vec::new(),
            at: 0,
        })
    }

    /// Reads the next block if this one is read.
    #[inline]
    fn refill(&mut self) -> Result<()> {
        if self.at < self.raw.len() {
            return Ok(());
        }
        self.next_block()
    }

    fn next_block(&mut self) -> Result<()> {
        let mut lengths = [0; 16];
        self.input.read_exact(&mut lengths)?;
        let length = |bytes: &[u8]| {
            let bytes = bytes.try_into().map_err(|_| damaged())?;
            usize::try_from(u64::from_le_bytes(bytes)).map_err(|_| damaged())
        };
        let (compressed, raw) = (length(&lengths[..8])?, length(&lengths[8..])?);
        self.compressed.resize(compressed, 0);
        self.input.read_exact(&mut self.compressed)?;
        self.raw.clear();
        self.raw.reserve(raw);
        self.decompressor
            .decompress_to_buffer(&self.compressed, &mut self.raw)?;
        self.at = 0;
        Ok(())
    }

    #[inline]
    fn byte(&mut self) -> Result<u8> {
        let byte = self.raw.get(self.at).copied().ok_or_else(damaged)?;
        self.at += 1;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<&[u8; N]> {
        let bytes = self.raw.get(self.at..).and_then(<[u8]>::first_chunk);
        self.at += N;
        bytes.ok_or_else(damaged)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64> {
        u64::try_from(self.wide_varint()?).map_err(|_| damaged())
    }

    #[inline]
    fn wide_varint(&mut self) -> Result<u128> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(first.into());
        }
        let mut value = u128::from(first & 0x7f);
        for shift in (7..128).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged())
    }

    #[inline]
    fn number(&mut self) -> Result<i128> {
        self.wide_varint().map(unzigzag)
    }

    #[inline]
    fn long(&mut self) -> Result<i64> {
        i64::try_from(self.number()?).map_err(|_| damaged())
    }

    fn text(&mut self) -> Result<&str> {
        let length = usize::try_from(self.varint()?).map_err(|_| damaged())?;
        let start = self.at;
        self.at = start.checked_add(length).ok_or_else(damaged)?;
        let bytes = self.raw.get(start..self.at).ok_or_else(damaged)?;
        str::from_utf8(bytes).map_err(|_| damaged())
    }
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    put_wide_varint(out, value.into());
}

#[inline]
fn put_wide_varint(out: &mut Vec<u8>, mut value: u128) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn put_number(out: &mut Vec<u8>, n: i128) {
    put_wide_varint(out, zigzag(n));
}

/// Small numbers of either sign become small.
fn zigzag(n: i128) -> u128 {
    ((n << 1) ^ (n >> 127)).cast_unsigned()
}

fn unzigzag(n: u128) -> i128 {
    (n >> 1).cast_signed() ^ -(n & 1).cast_signed()
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend(text.as_bytes());
}

fn damaged() -> Error {
    Error::new(ErrorKind::InvalidData, "the temporary file is damaged")
}
