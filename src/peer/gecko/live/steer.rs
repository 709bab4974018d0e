//! What a script wants of its client's media (`self.media`).

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Live, Script};
use crate::media::Source;
use crate::peer::reception::complete;
use crate::worker::MediaCommand;

/// Recordings that one script may start: each can be a file.
const RECORDINGS: usize = 100;

/// The recordings of one worker.
#[derive(Default)]
pub(super) struct Recordings {
    started: usize,
    /// Those that are being completed.
    ending: JoinSet<()>,
}

impl Live {
    /// Does what the script wants, and tells it what came of it.
    pub(super) fn steer(&mut self, command: MediaCommand) {
        let done = match command {
            MediaCommand::Play(name) => {
                let source = self.shared.pipeline(&name).cloned();
                source.and_then(|source| self.play(Some(source)))
            }
            MediaCommand::Stop => self.play(None),
            MediaCommand::Record(name) => self.record(name),
            MediaCommand::StopRecording => self.stop_recording(),
        };
        if let Some(script) = &mut self.script {
            script.media.error = done.err();
            script.media_changed = true;
        }
    }

    fn play(&mut self, source: Option<Arc<Source>>) -> Result<(), String> {
        let playing = source.as_ref().map(|it| it.file().word().to_owned());
        let played = self.session.play(source);
        played.map_err(|error| error.to_string())?;
        self.note(|script| script.media.playing = playing);
        Ok(())
    }

    /// Records what the client sends into a file of this name, and no longer into another one.
    fn record(&mut self, name: String) -> Result<(), String> {
        let reception = &self.shared.media.reception;
        if !reception.is_wanted() {
            return Err("this gecko records only when it is started with --receive".to_owned());
        }
        if self.receiver.is_none() {
            return Err("the client's offer sends no media".to_owned());
        }
        if self.recordings.started >= RECORDINGS {
            return Err(format!("a worker makes at most {RECORDINGS} recordings"));
        }
        self.recordings.started += 1;
        self.end_recording();
        let reception = &self.shared.media.reception;
        let receiver = self.receiver.as_mut();
        if !receiver.is_some_and(|receiver| receiver.record(reception, &name)) {
            return Err("this gecko writes no files".to_owned());
        }
        self.note(|script| script.media.recording = Some(name));
        Ok(())
    }

    fn stop_recording(&mut self) -> Result<(), String> {
        match self.end_recording() {
            true => Ok(()),
            false => Err("nothing is recorded".to_owned()),
        }
    }

    /// Ends the recording, if one runs, and completes its file meanwhile.
    fn end_recording(&mut self) -> bool {
        let ended = self.receiver.as_mut();
        let Some(recorder) = ended.and_then(|receiver| receiver.end_recording()) else {
            return false;
        };
        self.note(|script| script.media.recording = None);
        let (shared, worker) = (Arc::clone(&self.shared), self.id.clone());
        self.recordings.ending.spawn(async move {
            let completed = complete(recorder, Some(worker.as_str()), &shared.events).await;
            if let Err(error) = completed {
                tracing::warn!(%worker, %error, "the recording is not complete");
            }
        });
        true
    }

    fn note(&mut self, change: impl FnOnce(&mut Script)) {
        if let Some(script) = &mut self.script {
            change(script);
        }
    }
}

impl Recordings {
    /// Waits for the files that are being completed: 5 s at most.
    pub(super) async fn complete(mut self) {
        while self.ending.join_next().await.is_some() {}
    }
}
