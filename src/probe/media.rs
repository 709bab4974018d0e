//! What the probe sends.

use std::sync::Arc;

use super::plan::Media;
use crate::media::{Codec, MediaError, PipelineFile, Source, SourceOptions};

/// The pipeline file whose pictures and sound are coded.
const PIPELINE: &str = "probe";

/// Coded pictures and sound, in these codecs if any are named. `number` tells sources apart.
pub(super) async fn source(
    media: &Media,
    codecs: Vec<Codec>,
    number: u8,
) -> Result<Arc<Source>, MediaError> {
    let (width, height) = media.size;
    let value = |name: &str, value: u32| (name.to_owned(), value.to_string());
    let values = [
        value("width", width),
        value("height", height),
        value("fps", media.frame_rate),
        value("source", number.into()),
    ];
    let file = PipelineFile::find(PIPELINE, &values)?;
    let options = SourceOptions {
        codecs,
        encoder: media.encoder.clone(),
        ..SourceOptions::default()
    };
    Source::open(file, options).await
}
