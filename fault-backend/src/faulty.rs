//! A device that wraps another one, records what passes, and makes a plan's faults happen.
//!
//! Ops are counted from 1 over writes and flushes, as they arrive. Flushes are passed on unless the plan drops one: a
//! wrapper that swallows them hides the very bugs it is there for. Once a kill fired, nothing more reaches the inner
//! device. It knows neither steps nor files, so triggers on these never fire here.

use std::io;
use std::ops::Range;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use crate::block::BlockDevice;
use crate::fault::{Action, ArmedPlan, FaultPlan, OpClass, OpView, TORN_SECTOR_BYTES, torn_bytes};
use crate::hook_log::OpLogWriter;

/// Ends the tool: in a live run it does not return.
pub type Kill = Box<dyn FnMut() + Send>;

/// Sends the tool a signal.
pub type SendSignal = Box<dyn FnMut(Signal) + Send>;

/// A wrapped device.
pub struct FaultyDevice<D> {
    inner: D,
    plan: ArmedPlan,
    log: Option<OpLogWriter>,
    kill: Kill,
    signal: Option<SendSignal>,
    ops: u64,
    frozen: bool,
}

impl<D: BlockDevice> FaultyDevice<D> {
    /// Wraps `inner`. `kill` is called where the plan cuts the run; where it returns (in a test), the device
    /// answers every later op with EIO.
    pub fn new(inner: D, plan: FaultPlan, log: Option<OpLogWriter>, kill: Kill) -> Self {
        let mut device =
            Self { inner, plan: ArmedPlan::new(plan), log, kill, signal: None, ops: 0, frozen: false };
        if device.plan.cut_at_start() {
            device.cut();
        }
        device
    }

    /// Sends the plan's signals this way; without it they are left out.
    pub fn with_signal(mut self, signal: SendSignal) -> Self {
        self.signal = Some(signal);
        self
    }

    /// Ops seen so far, the one that was cut included.
    pub fn ops(&self) -> u64 {
        self.ops
    }

    /// How often each fault of the plan fired.
    pub fn fired(&self) -> Vec<u64> {
        self.plan.fired()
    }

    fn cut(&mut self) {
        self.frozen = true;
        (self.kill)();
    }

    fn frozen_error(&self) -> io::Result<()> {
        if self.frozen { Err(Errno::EIO.into()) } else { Ok(()) }
    }

    /// Cuts the run inside an op, whose caller sees EIO if it sees anything.
    fn cut_here(&mut self) -> io::Result<()> {
        self.cut();
        self.frozen_error()
    }

    /// Counts an op and asks the plan; waits and sends signals as it says.
    fn begin(&mut self, class: OpClass, range: Option<Range<u64>>) -> Orders {
        self.ops += 1;
        let view = OpView {
            number: self.ops,
            class,
            range,
            disk_len: Some(self.inner.len_bytes()),
            sector_bytes: self.inner.sector_bytes(),
            file: None,
            step: "",
        };
        let orders = Orders::of(self.plan.at(&view));
        sleep(orders.delay);
        if let (Some(send), Some(signal)) = (&mut self.signal, orders.signal) {
            send(signal);
        }
        orders
    }

    fn log_end(&mut self) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), |log| log.ends(self.ops))
    }
}

/// What a plan wants at one op, sorted by when it is done.
#[derive(Default)]
struct Orders {
    delay: Duration,
    signal: Option<Signal>,
    /// A kill, a failure, a short write or a dropped flush; the first of the plan holds.
    main: Option<Action>,
}

impl Orders {
    fn of(actions: Vec<Action>) -> Self {
        let mut orders = Self::default();
        for action in actions {
            match action {
                Action::Delay(ms) => orders.delay += Duration::from_millis(ms),
                Action::Signal(signal) => orders.signal = Some(signal),
                action => orders.main = orders.main.or(Some(action)),
            }
        }
        orders
    }
}

impl<D: BlockDevice> BlockDevice for FaultyDevice<D> {
    fn len_bytes(&self) -> u64 {
        self.inner.len_bytes()
    }

    fn sector_bytes(&self) -> u32 {
        self.inner.sector_bytes()
    }

    fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset_bytes, buf)
    }

    fn write_at(&mut self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
        self.frozen_error()?;
        let range = offset_bytes..offset_bytes.saturating_add(data.len() as u64);
        let orders = self.begin(OpClass::Write, Some(range));
        if orders.main == Some(Action::KillBefore) {
            return self.cut_here();
        }
        if let Some(log) = &mut self.log {
            log.write_begins(self.ops, offset_bytes, data)?;
        }
        match orders.main {
            Some(Action::KillTorn(sectors)) => {
                let unit = TORN_SECTOR_BYTES as u64;
                let arrived = torn_bytes(offset_bytes, data.len() as u64, u64::from(sectors), unit);
                self.inner.write_at(offset_bytes, &data[..arrived as usize])?;
                return self.cut_here();
            }
            Some(Action::Fail(failure)) => return Err(failure.errno().into()),
            Some(Action::Short(bytes)) => {
                // A device has no way to say how much was written, so the rest is an error.
                self.inner.write_at(offset_bytes, &data[..data.len().min(bytes as usize)])?;
                return Err(Errno::EIO.into());
            }
            _ => self.inner.write_at(offset_bytes, data)?,
        }
        self.log_end()?;
        if orders.main == Some(Action::KillAfter) {
            return self.cut_here();
        }
        sleep(orders.delay);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.frozen_error()?;
        let orders = self.begin(OpClass::Flush, None);
        if orders.main == Some(Action::KillBefore) {
            return self.cut_here();
        }
        if let Some(log) = &mut self.log {
            log.flush_begins(self.ops)?;
        }
        match orders.main {
            Some(Action::Fail(failure)) => return Err(failure.errno().into()),
            Some(Action::DropFlush) => {}
            _ => self.inner.flush()?,
        }
        self.log_end()?;
        if orders.main == Some(Action::KillAfter) {
            return self.cut_here();
        }
        sleep(orders.delay);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    //! Goal: a fault changes exactly what its text says and nothing else. Method: a small script of ops runs on a
    //! vector through the wrapper, with a kill that only sets a flag, and the vector is compared with the script's
    //! prefix.

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::hook_log;

    #[derive(Default)]
    struct Ram {
        bytes: Vec<u8>,
        flushes: Arc<AtomicU64>,
    }

    impl BlockDevice for Ram {
        fn len_bytes(&self) -> u64 {
            self.bytes.len() as u64
        }
        fn sector_bytes(&self) -> u32 {
            512
        }
        fn read_at(&self, offset_bytes: u64, buf: &mut [u8]) -> io::Result<()> {
            buf.copy_from_slice(&self.bytes[offset_bytes as usize..][..buf.len()]);
            Ok(())
        }
        fn write_at(&mut self, offset_bytes: u64, data: &[u8]) -> io::Result<()> {
            self.bytes[offset_bytes as usize..][..data.len()].copy_from_slice(data);
            Ok(())
        }
        fn flush(&mut self) -> io::Result<()> {
            self.flushes.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    const LEN: usize = 1 << 20;

    /// Ops 1 to 4: three sectors of 1, a flush, three sectors of 2 over the middle, one sector of 3.
    fn script(device: &mut impl BlockDevice) -> io::Result<()> {
        device.write_at(100 * 512, &[1; 1536])?;
        device.flush()?;
        device.write_at(101 * 512, &[2; 1536])?;
        device.write_at(400 * 512, &[3; 512])
    }

    fn run(plan: &str) -> (Vec<u8>, u64, u64) {
        let kills = Arc::new(AtomicU64::new(0));
        let ram = Ram { bytes: vec![0; LEN], ..Ram::default() };
        let flushes = ram.flushes.clone();
        let counter = kills.clone();
        let kill = Box::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let mut device = FaultyDevice::new(ram, plan.parse().unwrap(), None, kill);
        let result = script(&mut device);
        assert_eq!(result.is_err(), kills.load(Ordering::Relaxed) > 0, "after a kill the tool sees EIO");
        (device.inner.bytes, kills.load(Ordering::Relaxed), flushes.load(Ordering::Relaxed))
    }

    fn sectors(bytes: &[u8]) -> Vec<u8> {
        [100, 101, 102, 103, 400].iter().map(|sector| bytes[sector * 512]).collect()
    }

    #[test]
    fn each_kill_leaves_exactly_the_prefix_that_its_text_names() {
        for (plan, expected, kills, flushes) in [
            ("", [1, 2, 2, 2, 3], 0, 1),
            ("a0", [0, 0, 0, 0, 0], 1, 0),
            ("b1", [0, 0, 0, 0, 0], 1, 0),
            ("t1.2", [1, 1, 0, 0, 0], 1, 0),
            ("a1", [1, 1, 1, 0, 0], 1, 0),
            ("b2", [1, 1, 1, 0, 0], 1, 0),
            ("t2.1", [1, 1, 1, 0, 0], 1, 0),
            ("a2", [1, 1, 1, 0, 0], 1, 1),
            ("t3.0", [1, 1, 1, 0, 0], 1, 1),
            ("t3.1", [1, 2, 1, 0, 0], 1, 1),
            ("t3.99", [1, 2, 2, 2, 0], 1, 1),
            ("a3", [1, 2, 2, 2, 0], 1, 1),
            ("a9", [1, 2, 2, 2, 3], 0, 1),
        ] {
            let (bytes, fired, flushed) = run(plan);
            assert_eq!(
                (sectors(&bytes), fired, flushed),
                (expected.to_vec(), kills, flushes),
                "plan `{plan}`"
            );
        }
    }

    #[test]
    fn an_op_that_is_made_to_fail_changes_nothing_and_the_tool_goes_on() {
        for (plan, errno) in [("eio@3", Errno::EIO), ("enospc@gpt/1,enospc@3", Errno::ENOSPC)] {
            let ram = Ram { bytes: vec![0; LEN], ..Ram::default() };
            let mut device = FaultyDevice::new(ram, plan.parse().unwrap(), None, Box::new(|| {}));
            assert_eq!(script(&mut device).unwrap_err().raw_os_error(), Some(errno as i32), "{plan}");
            device.write_at(400 * 512, &[3; 512]).unwrap();
            assert_eq!(sectors(&device.inner.bytes), [1, 1, 1, 0, 3], "{plan}");
            assert_eq!(device.fired().last(), Some(&1), "{plan}");
        }
    }

    #[test]
    fn a_short_write_leaves_its_first_bytes_and_a_dropped_flush_is_not_passed_on() {
        let ram = Ram { bytes: vec![0; LEN], ..Ram::default() };
        let flushes = ram.flushes.clone();
        let plan = "drop@flush/1,short513@3";
        let mut device = FaultyDevice::new(ram, plan.parse().unwrap(), None, Box::new(|| {}));
        assert!(script(&mut device).is_err());
        assert_eq!(device.inner.bytes[101 * 512..][..1024].iter().filter(|byte| **byte == 2).count(), 513);
        assert_eq!((flushes.load(Ordering::Relaxed), device.fired()), (0, vec![1, 1]));
    }

    #[test]
    fn a_signal_is_sent_before_its_op() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let ram = Ram { bytes: vec![0; LEN], ..Ram::default() };
        let device = FaultyDevice::new(ram, "sigTERM@3,b3".parse().unwrap(), None, Box::new(|| {}));
        let mut device = device.with_signal(Box::new(move |signal| sender.send(signal).unwrap()));
        assert!(script(&mut device).is_err());
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [Signal::SIGTERM]);
    }

    #[test]
    fn flushes_are_passed_on() {
        assert_eq!(run("").2, 1);
    }

    #[test]
    fn only_writes_to_gpt_sectors_wait_before_and_after() {
        let ram = Ram { bytes: vec![0; LEN], ..Ram::default() };
        let mut device = FaultyDevice::new(ram, "dgpt.40".parse().unwrap(), None, Box::new(|| {}));
        let time = |device: &mut FaultyDevice<Ram>, offset: u64| {
            let start = Instant::now();
            device.write_at(offset, &[1; 512]).unwrap();
            start.elapsed()
        };
        // A sleep never ends early, so only the lower bounds are sure on a busy machine.
        assert!(time(&mut device, 512) >= Duration::from_millis(80));
        assert!(time(&mut device, LEN as u64 - 512) >= Duration::from_millis(80));
        let elsewhere = (0..5).map(|_| time(&mut device, LEN as u64 / 2)).min().unwrap();
        assert!(elsewhere < Duration::from_millis(40), "{elsewhere:?}");
    }

    #[test]
    fn the_log_holds_every_op_and_the_torn_one_without_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ops");
        let ram = Ram { bytes: vec![0; LEN], ..Ram::default() };
        let log = OpLogWriter::create(&path).unwrap();
        let mut device = FaultyDevice::new(ram, "t3.1".parse().unwrap(), Some(log), Box::new(|| {}));
        assert_eq!(script(&mut device).unwrap_err().raw_os_error(), Some(Errno::EIO as i32));
        let ops = hook_log::read(&path).unwrap();
        let ended: Vec<_> = ops.iter().map(|op| (op.number, op.ended_ns.is_some())).collect();
        assert_eq!(ended, [(1, true), (2, true), (3, false)]);
        assert_eq!(device.ops(), 3);
    }
}
