//! Which samples lie in which window, found once per timeline and shared by all series that have it.

use crate::query::plan::Windows;

/// Windows of up to this many samples on average are simply read again at every step.
const SHORT_WINDOW: usize = 8;

/// The samples `[low, high)` of every window of one timeline.
#[derive(Debug)]
pub(crate) struct Edges {
    windows: Windows,
    /// `range / step` where the range is a multiple of the step and there are several steps, else 0. Then
    /// `ends` has `steps + bins` entries: every window is `bins` neighbouring step bins.
    bins: usize,
    ends: Vec<u32>,
    lows: Vec<u32>,
    /// The timeline that was planned.
    timeline: Vec<i64>,
    planned: bool,
}

impl Edges {
    pub(crate) fn new(windows: Windows) -> Self {
        let (range, step) = (windows.range_ms(), windows.step_ms());
        let bins = usize::try_from(range / step).unwrap_or(usize::MAX);
        let few = bins / 4 <= windows.steps();
        let bins = if windows.steps() > 1 && range % step == 0 && few { bins } else { 0 };
        Self { windows, bins, ends: Vec::new(), lows: Vec::new(), timeline: Vec::new(), planned: false }
    }

    /// Plans a timeline; false when it is the one that is planned already.
    pub(crate) fn plan(&mut self, timestamps: &[i64]) -> bool {
        if self.planned && self.timeline == timestamps {
            return false;
        }
        assert!(u32::try_from(timestamps.len()).is_ok(), "a series has fewer than 2^32 samples in memory");
        self.planned = true;
        self.timeline.clear();
        self.timeline.extend_from_slice(timestamps);
        let (step, steps) = (self.windows.step_ms(), self.windows.steps());
        self.ends.resize(steps + self.bins, 0);
        if self.bins > 0 {
            samples_until(timestamps, self.windows.first_start_ms(), step, &mut self.ends);
        } else {
            self.lows.resize(steps, 0);
            samples_until(timestamps, self.windows.first_start_ms(), step, &mut self.lows);
            samples_until(timestamps, self.windows.first_end_ms(), step, &mut self.ends);
        }
        true
    }

    pub(crate) fn windows(&self) -> &Windows {
        &self.windows
    }

    /// The first sample of every window.
    pub(crate) fn lows(&self) -> &[u32] {
        if self.bins > 0 { &self.ends[..self.windows.steps()] } else { &self.lows }
    }

    /// The sample after the last of every window.
    pub(crate) fn highs(&self) -> &[u32] {
        &self.ends[self.bins..]
    }

    /// The samples of one window.
    #[inline]
    pub(crate) fn range(&self, step: usize) -> std::ops::Range<usize> {
        self.lows()[step] as usize..self.highs()[step] as usize
    }

    /// The borders of the step bins and how many make a window, where windows are made of bins.
    pub(crate) fn bins(&self) -> Option<(&[u32], usize)> {
        (self.bins > 0).then_some((&self.ends, self.bins))
    }

    /// Whether the windows are so short that reading each of them again is cheapest.
    pub(crate) fn are_short(&self) -> bool {
        let (lows, highs) = (self.lows(), self.highs());
        let last = lows.len() - 1;
        // The first, middle and last window stand for all: this only chooses between two right answers.
        let longest = [0, last / 2, last]
            .into_iter()
            .map(|step| (highs[step] - lows[step]) as usize)
            .max()
            .unwrap_or(0);
        longest <= SHORT_WINDOW
    }
}

/// `edges[k]` = how many samples have a timestamp ≤ `first + k·step`. Blocks of 64 steps guess a constant number
/// of samples a step and verify it without branches; a block where the guess is wrong is walked.
pub(crate) fn samples_until(timestamps: &[i64], first: i64, step: i64, edges: &mut [u32]) {
    let total = timestamps.len();
    let Some(head) = edges.first_mut() else { return };
    let mut at = timestamps.partition_point(|t| *t <= first);
    *head = index(at);
    let stride = samples_a_step(timestamps, step);
    let mut time = first;
    for block in edges[1..].chunks_mut(64) {
        let steps = block.len();
        let from = time + step;
        let to = time + step * i64::try_from(steps).expect("at most 64");
        if at == total || timestamps[at] > to {
            block.fill(index(at));
        } else if stride > 0 && at > 0 && at + stride * steps < total && {
            let window = &timestamps[at + stride - 1..=at + stride * steps];
            constant_stride(window, stride, from, step, steps)
        } {
            for (k, edge) in block.iter_mut().enumerate() {
                *edge = index(at + stride * (k + 1));
            }
            at += stride * steps;
        } else {
            let mut end = from;
            for edge in block {
                while at < total && timestamps[at] <= end {
                    at += 1;
                }
                *edge = index(at);
                end = end.saturating_add(step);
            }
        }
        time = to;
    }
}

fn constant_stride(window: &[i64], stride: usize, from: i64, step: i64, steps: usize) -> bool {
    let mut bad = 0_u64;
    let mut end = from;
    for k in 0..steps {
        bad |= u64::from(window[k * stride] > end) | u64::from(window[k * stride + 1] <= end);
        end = end.wrapping_add(step);
    }
    bad == 0
}

/// How many samples fall on a step, rounded; 0 when there are not enough to tell.
fn samples_a_step(timestamps: &[i64], step: i64) -> usize {
    let (Some(first), Some(last)) = (timestamps.first(), timestamps.last()) else { return 0 };
    let span = i128::from(*last) - i128::from(*first);
    if span <= 0 {
        return 0;
    }
    let gaps = i128::try_from(timestamps.len() - 1).expect("a length fits i128");
    usize::try_from((span / 2 + i128::from(step) * gaps) / span).unwrap_or(0)
}

#[inline]
fn index(at: usize) -> u32 {
    u32::try_from(at).expect("checked where the timeline is planned")
}

/// Resizes a scratch buffer without caring about its contents.
pub(crate) fn scratch<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
    &mut buffer[..len]
}
