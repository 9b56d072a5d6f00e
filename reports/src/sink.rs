//! Where events go in and from where they reach their readers. The stream keeps the [`Tally`], the [`Chart`] and the [`Bytes`]
//! itself, so every reader sees the same figures, brought up to the event that it is given.

use crate::{Bytes, Chart, Event, StoreError, Tally};

/// Something that reads a campaign's events as they happen.
pub trait Reader {
    /// One event; `tally` has counted it already.
    fn event(&mut self, event: &Event, tally: &Tally) -> Result<(), StoreError>;

    /// No further event comes.
    fn finish(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Hands each event to all readers.
pub struct Stream {
    readers: Vec<Box<dyn Reader + Send>>,
    tally: Tally,
    chart: Chart,
    bytes: Bytes,
}

impl Stream {
    /// A stream into `readers`, which get each event in this order.
    pub fn new(readers: Vec<Box<dyn Reader + Send>>) -> Self {
        Self { readers, tally: Tally::default(), chart: Chart::default(), bytes: Bytes::default() }
    }

    /// Counts `event` and hands it to every reader. A reader that fails keeps it from none of the others; the
    /// first failure comes back, and the stream can go on.
    pub fn emit(&mut self, event: &Event) -> Result<(), StoreError> {
        self.tally.event(event);
        self.chart.event(event, &self.tally);
        self.bytes.event(event);
        let tally = &self.tally;
        first_failure(self.readers.iter_mut().map(|reader| reader.event(event, tally)))
    }

    /// The figures up to the last event.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The crash states up to the last event.
    pub fn chart(&self) -> &Chart {
        &self.chart
    }

    /// The bytes of findings up to the last event.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Tells every reader that no further event comes.
    pub fn finish(&mut self) -> Result<(), StoreError> {
        first_failure(self.readers.iter_mut().map(|reader| reader.finish()))
    }
}

/// Takes all results, so that every reader has its turn, and returns the first failure.
fn first_failure(results: impl Iterator<Item = Result<(), StoreError>>) -> Result<(), StoreError> {
    results.fold(Ok(()), Result::and)
}
