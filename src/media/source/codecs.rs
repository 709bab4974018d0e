//! In which codecs a source can be sent.

use super::SourceOptions;
use super::run::{Format, Output};
use crate::media::MediaError;
use crate::media::codec::{Codec, Kind, names};
use crate::media::encoder::Encoders;
use crate::media::pipeline::PipelineFile;

/// For each kind of media its codecs, the preferred one first.
pub(super) type Codecs = Vec<(Kind, Vec<Codec>)>;

/// Finds out in which codecs these outputs can be sent, and what encodes the pictures. Blocks while
/// encoders are tried.
pub(super) fn choose(
    outputs: &[Output],
    file: &PipelineFile,
    options: &SourceOptions,
) -> Result<(Codecs, Encoders), MediaError> {
    let (mut codecs, mut encoders) = (Codecs::new(), Encoders::default());
    for &Output { kind, format, .. } in outputs {
        let of_kind = options.codecs.iter().filter(|codec| codec.kind() == kind);
        let asked: Vec<_> = of_kind.copied().collect();
        let wanted = match (asked.is_empty(), kind) {
            (false, _) => asked.clone(),
            (true, Kind::Video) => file.video_codecs(),
            (true, Kind::Audio) => vec![Codec::Opus],
        };
        let possible = match format {
            Format::Encoded(codec) if asked.is_empty() || asked.contains(&codec) => vec![codec],
            Format::Encoded(_) => Vec::new(),
            Format::Raw => wanted.clone(),
        };
        let (mut sent, unsent): (Vec<_>, Vec<_>) =
            possible.into_iter().partition(|codec| codec.can_send());
        if !asked.is_empty() && !unsent.is_empty() {
            let codecs = names(&unsent);
            tracing::warn!(codecs, "there is no RTP payloader for a codec here");
        }
        if sent.is_empty() {
            return Err(MediaError::NoSuchStream { kind, wanted });
        }
        if (format, kind) == (Format::Raw, Kind::Video) {
            encoders = Encoders::choose(&sent, &options.encoder, file.encoders())?;
            sent = encoders.codecs();
        }
        codecs.push((kind, sent));
    }
    Ok((codecs, encoders))
}
