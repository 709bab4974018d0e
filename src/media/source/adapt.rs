//! What a source's encoders of pictures do for their viewers' paths: the worker's part of it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::knobs::Knobs;
use super::viewer::Viewer;
use gstreamer::prelude::*;

use crate::media::codec::Codec;
use crate::media::congestion::{Aim, Load, Plan, Report, Rung, Sharing, ViewerId};
use crate::media::guard;

/// How often the encoders follow the paths. Short, because a queue at a bottleneck grows meanwhile.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);

/// The viewers of one codec of a source.
#[derive(Debug)]
pub(super) struct Audience {
    codec: Codec,
    sharing: Sharing,
    viewers: Vec<Weak<Viewer>>,
}

impl Audience {
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            codec,
            sharing: Sharing::default(),
            viewers: Vec::new(),
        }
    }

    pub(super) const fn codec(&self) -> Codec {
        self.codec
    }

    /// Whether nobody is left.
    pub(super) fn is_empty(&self) -> bool {
        self.viewers.iter().all(|viewer| viewer.strong_count() == 0)
    }

    /// Takes in a viewer that may be there already.
    pub(super) fn admit(&mut self, viewer: &Arc<Viewer>) {
        let known = self
            .viewers
            .iter()
            .any(|it| it.as_ptr() == Arc::as_ptr(viewer));
        if !known {
            // Who joins isn't to spoil the picture of the others before anything is known of it.
            if let Some(bits) = self.sharing.made().filter(|_| !self.is_empty()) {
                viewer.seed(bits);
            }
            self.viewers.push(Arc::downgrade(viewer));
        }
    }

    /// Looks at all paths: gives each encoder's new aim, and moves viewers from one to the other.
    pub(super) fn look(&mut self, knobs: &[(Rung, Arc<Knobs>)]) -> Vec<(Arc<Knobs>, Aim)> {
        self.viewers.retain(|viewer| viewer.strong_count() > 0);
        let viewers: Vec<_> = self.viewers.iter().filter_map(Weak::upgrade).collect();
        let Some(picture) = knobs.iter().find_map(|(_, knobs)| knobs.picture()) else {
            return Vec::new();
        };
        let reports: Vec<(ViewerId, Report)> = viewers
            .iter()
            .map(|viewer| (viewer.id(), viewer.report()))
            .collect();
        let now = Duration::from(guard::clock().time());
        let load = |rung| {
            let of_rung = knobs.iter().find(|(of, _)| *of == rung);
            of_rung.map_or(Load::Unknown, |(_, knobs)| knobs.load())
        };
        let plan = self.sharing.decide(now, picture, &reports, load);
        let Plan { full, low, moves } = plan;
        for step in moves {
            if let Some(viewer) = viewers.iter().find(|it| it.id() == step.viewer) {
                viewer.put(step.rung, step.trial);
            }
        }
        let aim_of = |rung: Rung| match rung {
            Rung::Full => full,
            Rung::Low => low,
        };
        for viewer in &viewers {
            viewer.tell(aim_of(*viewer.rung().borrow()), None);
        }
        let aims = knobs.iter();
        aims.filter_map(|(rung, knobs)| Some((knobs.clone(), aim_of(*rung)?)))
            .collect()
    }

    /// Passed-through media is as it is; its viewers' statistics say what their paths take.
    pub(super) fn tell(&self, size: Option<(u32, u32)>) {
        for viewer in self.viewers.iter().filter_map(Weak::upgrade) {
            viewer.tell(None, size);
        }
    }
}
