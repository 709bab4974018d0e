//! One device, played.

use std::time::Duration;

use fantoccini::actions::{
    InputSource, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions, PointerAction,
    TouchActions, WheelAction, WheelActions,
};
use fantoccini::key::Key;

use crate::driver::{Browser, Screen};
use crate::page;
use crate::program::Program;

/// A pixel that the test picture leaves black: the ball doesn't come here.
const CORNER: (i64, i64) = (40, 30);

#[tokio::test]
async fn the_demo_plays_with_picture_and_sound() {
    let (_demo, url) = Program::listen("demo").await;
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&format!("{url}#device=demo")).await;
    page::plays(&browser).await;

    let (first, contrast) = page::picture(&browser).await;
    assert!(contrast > 150, "black and white, not {contrast} levels");
    page::more_frames(&browser, 5).await;
    let (second, _) = page::picture(&browser).await;
    assert_ne!(first, second, "the picture moves");

    browser.find("#sound-on").await.click().await.unwrap();
    browser
        .until("!document.querySelector('audio').muted")
        .await;
    let loudest = page::loudness(&browser, "audio", 3_000).await;
    assert!(loudest > 0.05, "a tick every second, not {loudest}");

    let stats = browser
        .until("window.switchboard.stats()?.bitsPerSecond && window.switchboard.stats()")
        .await;
    assert_eq!(
        (&stats["width"], &stats["height"]),
        (&640.into(), &480.into())
    );
    assert_eq!(stats["path"], "direct");
    page::keep(&browser, "console-desktop").await;
}

#[tokio::test]
async fn a_touch_reaches_the_device_and_shows_on_the_picture() {
    let (mut demo, url) = Program::listen("demo").await;
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&format!("{url}#device=demo")).await;
    page::plays(&browser).await;
    input_is_open(&browser, &mut demo).await;

    let (x, y) = CORNER;
    let (x_to, y_to) = (x + 50, y + 20);
    assert!(
        page::brightness(&browser, x, y).await < 60.0,
        "the corner is dark before"
    );
    page::watch_brightness(&browser, &[(x, y), (x_to, y_to)]).await;
    let (dx, dy) = page::offset_of(&browser, x, y).await;
    let (dx_to, dy_to) = page::offset_of(&browser, x_to, y_to).await;
    let screen = browser.find(".screen").await;
    let element = || screen.clone();
    let hold = || PointerAction::Pause {
        duration: Duration::from_millis(800),
    };

    let drag = MouseActions::new("mouse".to_owned())
        .then(PointerAction::MoveToElement {
            element: element(),
            duration: None,
            x: dx,
            y: dy,
        })
        .then(PointerAction::Down {
            button: MOUSE_BUTTON_LEFT,
        })
        .then(hold())
        .then(PointerAction::MoveToElement {
            element: element(),
            duration: None,
            x: dx_to,
            y: dy_to,
        })
        .then(hold())
        .then(PointerAction::Up {
            button: MOUSE_BUTTON_LEFT,
        });
    browser.client().perform_actions(drag).await.unwrap();

    demo.message("input-channel", |message| {
        page::is_touch(message, x, y, true)
    })
    .await;
    demo.message("input-channel", |message| {
        page::is_touch(message, x_to, y_to, true)
    })
    .await;
    let lifted = demo
        .message("input-channel", |message| {
            page::is_touch(message, x_to, y_to, false)
        })
        .await;
    assert_eq!(lifted["device_label"], "display_0");
    browser
        .until("window.brightest.every((one) => one > 180)")
        .await;
}

#[tokio::test]
async fn keys_wheel_and_buttons_reach_the_device() {
    let (mut demo, url) = Program::listen("demo").await;
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&format!("{url}#device=demo")).await;
    page::plays(&browser).await;
    input_is_open(&browser, &mut demo).await;

    let key = |code: &'static str, event: &'static str| {
        move |message: &serde_json::Value| {
            message["keycode"] == code && message["event_type"] == event
        }
    };
    let typed = KeyActions::new("keyboard".to_owned())
        .then(KeyAction::Down { value: 'a' })
        .then(KeyAction::Up { value: 'a' });
    browser.client().perform_actions(typed).await.unwrap();
    demo.message("input-channel", key("KeyA", "keydown")).await;
    demo.message("input-channel", key("KeyA", "keyup")).await;

    let (x, y) = middle(&browser, ".screen").await;
    let wheel = WheelActions::new("wheel".to_owned()).then(WheelAction::Scroll {
        duration: Some(Duration::ZERO),
        x,
        y,
        delta_x: 0,
        delta_y: 120,
    });
    browser.client().perform_actions(wheel).await.unwrap();
    demo.message("input-channel", |message| {
        message["type"] == "wheel" && message["pixels"] == 120
    })
    .await;

    browser
        .find("[data-command=home]")
        .await
        .click()
        .await
        .unwrap();
    let state = |state: &'static str| {
        move |message: &serde_json::Value| {
            message["command"] == "home" && message["button_state"] == state
        }
    };
    demo.message("device-control", state("down")).await;
    demo.message("device-control", state("up")).await;
}

#[tokio::test]
async fn the_microphone_sends_sound_to_the_device_and_the_picture_goes_on() {
    let (_demo, url) = Program::listen("demo").await;
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&format!("{url}#device=demo")).await;
    page::plays(&browser).await;
    let microphone = browser.find("#microphone").await;

    microphone.click().await.unwrap();
    browser
        .until("document.querySelector('#microphone').ariaPressed === 'true'")
        .await;
    browser
        .until("window.switchboard.stats().sentBytes > 1000")
        .await;
    page::more_frames(&browser, 30).await;

    microphone.click().await.unwrap();
    browser
        .until("document.querySelector('#microphone').ariaPressed === 'false'")
        .await;
    page::more_frames(&browser, 30).await;
    let notice = browser
        .run(
            "return document.querySelector('#player-notice').hidden",
            vec![],
        )
        .await;
    assert_eq!(notice, true, "there is nothing to complain of");
}

#[tokio::test]
async fn the_keyboard_alone_chooses_a_device_and_leaves_it() {
    let (_demo, url) = Program::listen("demo").await;
    let browser = Browser::start(Screen::Desktop).await;
    browser.open(&url).await;
    browser
        .until("document.querySelector('[data-device=demo] a')")
        .await;

    let press = |key: Key| {
        KeyActions::new("keyboard".to_owned())
            .then(KeyAction::Down { value: key.into() })
            .then(KeyAction::Up { value: key.into() })
    };
    let mut tabs = 0;
    while browser
        .run(
            "return document.activeElement.closest('[data-device]') === null",
            vec![],
        )
        .await
        == true
    {
        browser
            .client()
            .perform_actions(press(Key::Tab))
            .await
            .unwrap();
        tabs += 1;
        assert!(tabs < 10, "Tab reaches the device");
    }
    let outline = browser
        .run(
            "return getComputedStyle(document.activeElement).outlineStyle",
            vec![],
        )
        .await;
    assert_eq!(outline, "solid", "the focus can be seen");
    browser
        .client()
        .perform_actions(press(Key::Enter))
        .await
        .unwrap();
    page::plays(&browser).await;

    browser
        .run("document.querySelector('.screen').focus()", vec![])
        .await;
    browser
        .client()
        .perform_actions(press(Key::Tab))
        .await
        .unwrap();
    let left = browser
        .run("return !document.activeElement.matches('.screen')", vec![])
        .await;
    assert_eq!(left, true, "Tab leads out of the picture");
}

#[tokio::test]
async fn a_second_window_plays_beside_the_first() {
    let (_demo, url) = Program::listen("demo").await;
    let browser = Browser::start(Screen::Desktop).await;
    let address = format!("{url}#device=demo");
    browser.open(&address).await;
    page::plays(&browser).await;
    let first = browser.client().window().await.unwrap();

    let second = browser.client().new_window(false).await.unwrap();
    browser
        .client()
        .switch_to_window(second.handle)
        .await
        .unwrap();
    browser.open(&address).await;
    page::plays(&browser).await;
    page::more_frames(&browser, 30).await;
    browser
        .until("document.querySelector('.row-about').textContent.includes('2 viewers')")
        .await;

    browser.client().close_window().await.unwrap();
    browser.client().switch_to_window(first).await.unwrap();
    browser
        .until("document.querySelector('.row-about').textContent.includes('1 viewer ')")
        .await;
    page::more_frames(&browser, 30).await;
}

#[tokio::test]
async fn the_console_fits_a_phone() {
    let (mut demo, url) = Program::listen("demo").await;
    let browser = Browser::start(Screen::Phone).await;
    browser.open(&format!("{url}console/")).await;
    browser
        .until("document.querySelector('[data-device=demo] a')")
        .await;
    page::fits(&browser).await;
    page::keep(&browser, "console-phone-list").await;

    browser
        .find("[data-device=demo] a")
        .await
        .click()
        .await
        .unwrap();
    page::plays(&browser).await;
    input_is_open(&browser, &mut demo).await;
    page::fits(&browser).await;
    page::fits_fingers(&browser).await;
    page::keep(&browser, "console-phone-player").await;

    let (x, y) = CORNER;
    let (dx, dy) = page::offset_of(&browser, x, y).await;
    let screen = browser.find(".screen").await;
    let tap = TouchActions::new("finger".to_owned())
        .then(PointerAction::MoveToElement {
            element: screen,
            duration: None,
            x: dx,
            y: dy,
        })
        .then(PointerAction::Down {
            button: MOUSE_BUTTON_LEFT,
        })
        .then(PointerAction::Up {
            button: MOUSE_BUTTON_LEFT,
        });
    browser.client().perform_actions(tap).await.unwrap();
    demo.message("input-channel", |message| {
        page::is_touch(message, x, y, true)
    })
    .await;
    demo.message("input-channel", |message| {
        page::is_touch(message, x, y, false)
    })
    .await;

    browser.find("#leave").await.click().await.unwrap();
    browser
        .until("document.querySelector('[data-device=demo]').offsetParent")
        .await;
}

/// Presses a key in the picture until the first one arrives: then the channel is open.
async fn input_is_open(browser: &Browser, demo: &mut Program) {
    browser
        .run(
            "const screen = document.querySelector('.screen');
        screen.focus();
        window.knocking = setInterval(() => {
          for (const type of ['keydown', 'keyup']) screen.dispatchEvent(new KeyboardEvent(type, { code: 'F24' }));
        }, 100);",
            vec![],
        )
        .await;
    demo.message("input-channel", |message| message["keycode"] == "F24")
        .await;
    browser.run("clearInterval(window.knocking)", vec![]).await;
}

/// The middle of an element, in pixels of the page.
async fn middle(browser: &Browser, selector: &str) -> (i64, i64) {
    let script = "const box = document.querySelector(arguments[0]).getBoundingClientRect();
        return [Math.round(box.left + box.width / 2), Math.round(box.top + box.height / 2)]";
    let value = browser.run(script, vec![selector.into()]).await;
    let number = |at: usize| value[at].as_i64().expect("whole numbers");
    (number(0), number(1))
}
