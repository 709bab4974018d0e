//! A device's session and a viewer's session in one process, joined as a signaling server would.

use std::time::Duration;

use switchboard::media::{Receive, Session, SessionConfig, SessionEvent, SessionEvents};
use tokio::sync::watch;

use crate::badlink::{BadLink, Side};
use crate::viewer::{Eyes, Seen};

/// How long anything may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// What becomes of a candidate on its way; it may get lost.
pub(crate) type Path = Box<dyn FnMut(&str) -> Option<String> + Send>;
/// How often a condition is looked at if nothing happens.
const LOOK: Duration = Duration::from_millis(50);

/// Both ends of a call.
pub(crate) struct Pair {
    pub(crate) device: Session,
    pub(crate) viewer: Session,
    /// The way between them, if it is a bad one.
    pub(crate) link: Option<BadLink>,
    pub(crate) eyes: Eyes,
    device_events: SessionEvents,
    viewer_events: SessionEvents,
    seen: watch::Receiver<Seen>,
    /// What becomes of the device's candidates on their way, and of the viewer's.
    pub(crate) paths: [Path; 2],
    /// What the device was told so far, without candidates.
    pub(crate) told_device: Vec<SessionEvent>,
    /// What the viewer was told so far, without candidates.
    pub(crate) told_viewer: Vec<SessionEvent>,
}

impl Pair {
    pub(crate) async fn start(device: SessionConfig, viewer: SessionConfig) -> Self {
        let viewer = SessionConfig {
            receive_latency: Duration::ZERO,
            ..viewer
        };
        Self::over(None, device, viewer).await
    }

    /// With a bad path between the two: the device is its side A, the viewer its side B.
    pub(crate) async fn over(
        link: impl Into<Option<BadLink>>,
        device: SessionConfig,
        viewer: SessionConfig,
    ) -> Self {
        let eyes = Eyes::new();
        let receive = match viewer.receive {
            Receive::Drain => eyes.receive(),
            other => other,
        };
        let viewer = SessionConfig { receive, ..viewer };
        let (device, device_events) = Session::start(device).await.unwrap();
        let (viewer, viewer_events) = Session::start(viewer).await.unwrap();
        let seen = eyes.watch();
        let (told_device, told_viewer) = (Vec::new(), Vec::new());
        Self {
            device,
            viewer,
            link: link.into(),
            eyes,
            device_events,
            viewer_events,
            seen,
            paths: [(); 2].map(|()| -> Path { Box::new(|it| Some(it.to_owned())) }),
            told_device,
            told_viewer,
        }
    }

    /// The device offers, the viewer answers.
    pub(crate) async fn device_offers(&mut self) -> (String, String) {
        let offer = self.device.offer().await.unwrap();
        let answer = self.viewer.answer(&offer).await.unwrap();
        self.device.accept_answer(&answer).await.unwrap();
        (offer, answer)
    }

    /// The viewer offers, the device answers.
    pub(crate) async fn viewer_offers(&mut self) -> (String, String) {
        let offer = self.viewer.offer().await.unwrap();
        let answer = self.device.answer(&offer).await.unwrap();
        self.viewer.accept_answer(&answer).await.unwrap();
        (offer, answer)
    }

    /// Carries candidates to and fro until the condition holds.
    pub(crate) async fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = tokio::time::Instant::now() + DEADLINE;
        while !done(self) {
            tokio::select! {
                event = self.device_events.recv() => match event {
                    Some(SessionEvent::Candidate { mline_index, mid, candidate }) => {
                        if let Some(candidate) = self.carried(Side::A, candidate).and_then(|it| self.paths[0](&it)) {
                            self.viewer.add_candidate(mline_index, mid.as_deref(), &candidate);
                        }
                    }
                    Some(event) => self.told_device.push(event),
                    None => panic!("waiting for {what}, the device's session ended: {:?}", self.told_device),
                },
                event = self.viewer_events.recv() => match event {
                    Some(SessionEvent::Candidate { mline_index, mid, candidate }) => {
                        if let Some(candidate) = self.carried(Side::B, candidate).and_then(|it| self.paths[1](&it)) {
                            self.device.add_candidate(mline_index, mid.as_deref(), &candidate);
                        }
                    }
                    Some(event) => {
                        self.eyes.witness().event(&event);
                        self.told_viewer.push(event);
                    }
                    None => panic!("waiting for {what}, the viewer's session ended: {:?}", self.told_viewer),
                },
                changed = self.seen.changed() => changed.unwrap(),
                // What isn't told by any of these.
                () = tokio::time::sleep(LOOK) => {}
                () = tokio::time::sleep_until(end) => {
                    let pictures: Vec<_> = self.eyes.seen().pictures.into_iter().map(|(k, p)| (k, p.frames)).collect();
                    let traffic = self.link.as_ref().map(|it| [Side::A, Side::B].map(|side| it.traffic(side)));
                    panic!("{what} did not happen; device {:?}, viewer {:?}, pictures {pictures:?}, link {traffic:?}, {:?}", self.told_device, self.told_viewer, self.eyes.witness().report())
                }
            }
        }
    }

    /// A candidate as the other side shall see it, if it shall.
    fn carried(&self, of: Side, candidate: String) -> Option<String> {
        match &self.link {
            Some(link) => link.candidate(of, &candidate),
            None => Some(candidate),
        }
    }

    pub(crate) async fn close(self) {
        self.viewer.close().await;
        self.device.close().await;
    }
}

impl Pair {
    /// Closes the device, and gives what the viewer is told until so many channels are closed.
    pub(crate) async fn device_leaves(mut self, channels: usize) -> Vec<SessionEvent> {
        let told = async {
            let mut closed = 0;
            while closed < channels
                && let Some(event) = self.viewer_events.recv().await
            {
                closed += usize::from(matches!(event, SessionEvent::ChannelClosed { .. }));
                self.told_viewer.push(event);
            }
        };
        let (told, ()) = tokio::join!(tokio::time::timeout(DEADLINE, told), self.device.close());
        told.expect("the end of a channel");
        self.viewer.close().await;
        self.told_viewer
    }

    /// Connects, then closes the viewer; the device's session must end by itself.
    pub(crate) async fn leave_and_notice(mut self) {
        self.device_offers().await;
        self.until("the channel", |pair| {
            pair.told_viewer
                .iter()
                .any(|event| matches!(event, SessionEvent::ChannelOpen { .. }))
        })
        .await;
        self.viewer.close().await;
        let over = async {
            while let Some(event) = self.device_events.recv().await {
                if matches!(
                    event,
                    SessionEvent::Failed { .. }
                        | SessionEvent::ChannelClosed { .. }
                        | SessionEvent::Disconnected
                ) {
                    return;
                }
            }
        };
        tokio::time::timeout(DEADLINE, over)
            .await
            .expect("the device notices that the viewer left");
        self.device.close().await;
    }
}
