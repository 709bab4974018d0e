//! What operators do to participants.

use super::*;

const SOUND: MuteChange = MuteChange {
    audio: Some(true),
    video: None,
};
const PICTURE: MuteChange = MuteChange {
    audio: None,
    video: Some(true),
};

impl Hall {
    fn mute(&mut self, user: &str, change: MuteChange) -> Option<Muted> {
        let muted = self.town.hub.mute("r", user, change);
        self.commands.extend(self.town.hub.take_media_commands());
        muted
    }

    fn dismiss(&mut self, who: ConnectionId) -> Heard {
        let mut out = Vec::new();
        self.town.hub.dismiss(who, &mut out);
        self.note(out.into_iter().map(|it| (it.to, it.event)).collect())
    }

    fn shown(&self, user: &str) -> Muted {
        let members = self.town.hub.forwarding_room("r").unwrap();
        let member = members.iter().find(|it| &*it.user == user);
        member.unwrap().muted
    }
}

fn muted(audio: bool, video: bool) -> Muted {
    Muted { audio, video }
}

#[test]
fn the_plane_is_told_what_of_a_publisher_is_muted_and_only_of_changes() {
    let (mut hall, end) = Hall::with_publisher();
    hall.commands.clear();
    assert_eq!(hall.mute("a", SOUND), Some(muted(true, false)));
    assert_eq!(hall.mute("a", SOUND), Some(muted(true, false)));
    assert_eq!(hall.mute("a", PICTURE), Some(muted(true, true)));
    let room = MediaRoom(1);
    let told = |muted| MediaCommand::Mute { room, end, muted };
    let expected = [told(muted(true, false)), told(muted(true, true))];
    assert_eq!(hall.commands, expected);
    assert_eq!(hall.shown("a"), muted(true, true));
    assert_eq!(hall.mute("z", SOUND), None);
    assert_eq!(hall.town.hub.mute("s", "a", SOUND), None);
}

#[test]
fn a_mute_holds_for_whatever_is_published_until_the_member_leaves() {
    let mut hall = Hall::of_two();
    assert_eq!(hall.mute("a", PICTURE), Some(muted(false, true)));
    assert_eq!(hall.commands, [], "nothing is published yet");
    assert_eq!(hall.ask(A, publish()), []);
    let [MediaCommand::Publish { room, end, .. }, mute] = &hall.commands[..] else {
        panic!("{:?}", hall.commands);
    };
    let (room, end, muted_now) = (*room, *end, muted(false, true));
    let expected = MediaCommand::Mute {
        room,
        end,
        muted: muted_now,
    };
    assert_eq!(*mute, expected);
    hall.ask(A, Ask::Exit);
    hall.enter(A, "r", "a");
    assert_eq!(hall.shown("a"), muted(false, false));
}

#[test]
fn whoever_is_dismissed_leaves_for_good() {
    let (mut hall, _) = Hall::with_publisher();
    assert_eq!(hall.dismiss(A), [left(B, "a"), (A, Told::Evicted)]);
    assert_eq!(hall.dismiss(A), []);
    assert_eq!(hall.leave(A), []);
    assert_eq!(hall.town.hub.counts().visitors, 1);
    assert_eq!(hall.town.hub.next_timeout(), None, "nobody is awaited");
    // Who is in no room hears of nothing.
    hall.ask(C, Ask::Begin);
    assert_eq!(hall.dismiss(C), []);
    assert_eq!(hall.town.hub.counts().visitors, 1);
}
