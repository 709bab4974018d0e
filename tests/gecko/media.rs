//! Pipelines that play to a page.

use super::page::{Offer, Page, channel};
use super::{PATIENCE, gecko, server};

fn media() -> Offer {
    Offer {
        watches: true,
        channels: &[],
        ..channel()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_plays_on_the_media_lines_of_the_offer() {
    let server = server().await;
    let _gecko = gecko(&server, &[]).await;
    let mut page = Page::start(server.address(), "pipeline:test", media()).await;
    page.answered().await;
    page.connected().await;
    let mut seen = page.eyes.watch();
    let plays = seen.wait_for(|seen| {
        let sees = seen.pictures.values().any(|it| it.frames > 30);
        sees && seen.sounds.values().any(|it| it.peak > 1000)
    });
    let plays = tokio::time::timeout(PATIENCE, plays).await;
    assert!(matches!(plays, Ok(Ok(_))), "no pictures and sound");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_played_says_so() {
    let server = server().await;
    let gecko = gecko(&server, &[]).await;
    for source in ["pipeline:camera", "pipeline:../x", "pipeline:"] {
        let mut page = Page::start(server.address(), source, media()).await;
        let (errno, reason) = page.refused().await;
        assert!(errno == 201 && reason.contains("it has test"), "{reason}");
    }
    let mut page = Page::start(server.address(), "pipeline:test", channel()).await;
    let (errno, reason) = page.refused().await;
    assert!(errno == 400 && reason.contains("media lines"), "{reason}");
    let mut page = Page::offering(server.address(), "pipeline:test", "nonsense").await;
    assert_eq!(page.refused().await.0, 400);
    gecko.logged("worker ended").await;
}
