use super::*;

fn parse(text: &str, values: &[(&str, &str)]) -> Result<PipelineFile, PipelineError> {
    let values: Vec<_> = values
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    PipelineFile::parse("mine", Origin::BuiltIn, text, &values)
}

#[test]
fn built_in_files_are_right_and_name_only_known_elements() {
    crate::media::init().unwrap();
    for (name, text) in BUILT_IN {
        let file = PipelineFile::parse(name, Origin::BuiltIn, text, &[]).unwrap();
        assert!(!file.title().is_empty(), "{name}");
        assert!(text.starts_with("# "), "{name} says nothing about itself");
        let (head, _) = text.split_once("\ntitle = ").unwrap();
        assert!(head.contains(&format!("--pipeline {name}")), "{name}");
        for variable in file.variables().keys() {
            assert!(head.contains(variable.as_str()), "{name}: {variable}");
        }
        match file.check() {
            Ok(report) => assert!(!report.outputs.is_empty(), "{name}"),
            // Not on every machine; but its package is known.
            Err(PipelineError::MissingElements { elements, .. }) => {
                for element in elements {
                    assert!(packages::debian_package(&element).is_some(), "{element}");
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn variables_are_filled_in_and_overridden() {
    let text = "title='t'\npipeline='a width=${w} name=${n}'\n[vars]\nw = 640\nn = 'x'";
    assert_eq!(
        parse(text, &[]).unwrap().launch_text(),
        "a width=640 name=x"
    );
    assert_eq!(
        parse(text, &[("w", "320")]).unwrap().launch_text(),
        "a width=320 name=x"
    );
}

#[test]
fn a_value_can_t_add_elements() {
    let text = "title='t'\npipeline='filesrc location=${path} ! fakesink'\n[vars]\npath = 'x'";
    let file = parse(text, &[("path", "a \"b\\c ! filesink")]).unwrap();
    assert_eq!(
        file.launch_text(),
        r#"filesrc location="a \"b\\c ! filesink" ! fakesink"#
    );
}

#[test]
fn an_unknown_variable_is_answered_with_the_valid_ones() {
    let text = "title='t'\npipeline='a'\n[vars]\nfps = 1\nwidth = 2";
    let error = parse(text, &[("with", "3")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pipeline file `mine` has no variable `with`; it has fps, width"
    );
    let error = parse("title='t'\npipeline='a ${b}'", &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pipeline file `mine` has no variable `b`; it has none"
    );
}

#[test]
fn unknown_keys_codecs_overlays_and_open_braces_are_refused() {
    for text in [
        "title='t'\npipeline='a'\nlopp=true",
        "title='t'\npipeline='a'\ncodecs=['VP7']",
        "title='t'\npipeline='a'\noverlay=['hat']",
        "title='t'\npipeline='a ${b'",
        "title='t'\npipeline='a'\n[vars]\nx = []",
        "title='t'\npipeline='a'\noverlay=['code']\n[vars]\nsource = 256",
        "title='t'",
        "not toml",
    ] {
        assert!(
            matches!(parse(text, &[]), Err(PipelineError::Syntax { .. })),
            "{text}"
        );
    }
}

#[test]
fn a_missing_element_is_answered_with_the_command_that_installs_it() {
    crate::media::init().unwrap();
    let known = PipelineError::MissingElements {
        name: "mine".into(),
        elements: vec!["x264enc".into()],
    };
    assert!(
        known
            .to_string()
            .ends_with("install: sudo apt install gstreamer1.0-plugins-ugly"),
        "{known}"
    );
    let text = "title='t'\npipeline='frobnicate ! appsink name=video'";
    let error = parse(text, &[]).unwrap().check().unwrap_err();
    assert_eq!(
        error,
        PipelineError::MissingElements {
            name: "mine".into(),
            elements: vec!["frobnicate".into()]
        }
    );
    let text = "title='t'\npipeline='one ! two ! appsink name=video three ! fakesink'";
    let error = parse(text, &[]).unwrap().check().unwrap_err();
    assert_eq!(
        error.to_string(),
        "pipeline file `mine` needs one, three, two, which GStreamer lacks; no package that we know has it"
    );
    let known = PipelineError::MissingElements {
        name: "mine".into(),
        elements: vec!["alsasrc".into(), "x264enc".into()],
    };
    assert_eq!(
        known.to_string(),
        "pipeline file `mine` needs alsasrc (gstreamer1.0-alsa), x264enc (gstreamer1.0-plugins-ugly), \
         which GStreamer lacks; install: sudo apt install gstreamer1.0-alsa gstreamer1.0-plugins-ugly"
    );
}

#[test]
fn a_file_says_what_it_needs_and_when_it_counts_as_stalled() {
    let file = parse("title='t'\npipeline='a'", &[]).unwrap();
    assert_eq!((file.needs(), file.hint()), (None, None));
    assert_eq!(file.stall(), Some(Duration::from_secs(10)));
    let text = "title='t'\npipeline='a'\nneeds='luck'\nhint='luck?'\nstall=0";
    let file = parse(text, &[]).unwrap();
    assert_eq!((file.needs(), file.hint()), (Some("luck"), Some("luck?")));
    assert_eq!(file.stall(), None);
}

#[test]
fn a_text_without_output_or_sense_is_refused() {
    crate::media::init().unwrap();
    let check = |pipeline: &str| {
        parse(&format!("title='t'\npipeline='{pipeline}'"), &[])
            .unwrap()
            .check()
    };
    assert!(matches!(
        check("videotestsrc ! fakesink"),
        Err(PipelineError::NoOutput { .. })
    ));
    assert!(matches!(
        check("videotestsrc ! fakesink name=video"),
        Err(PipelineError::NoOutput { .. })
    ));
    assert!(matches!(
        check("videotestsrc ! ! fakesink"),
        Err(PipelineError::Launch { .. })
    ));
}

#[test]
fn a_path_is_read_and_a_name_is_looked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.toml");
    std::fs::write(&path, "title='mine'\npipeline='a'").unwrap();
    let file = PipelineFile::find(path.to_str().unwrap(), &[]).unwrap();
    assert_eq!((file.title(), file.origin()), ("mine", &Origin::File(path)));
    assert_eq!(
        PipelineFile::find("test", &[]).unwrap().title(),
        "Test pattern and ticks"
    );
    let error = PipelineFile::find("tset", &[]).unwrap_err().to_string();
    assert!(
        error.contains("`tset`") && error.contains("test-clock"),
        "{error}"
    );
    assert!(matches!(
        PipelineFile::find("./absent.toml", &[]),
        Err(PipelineError::Read { .. })
    ));
}

#[test]
fn the_list_has_every_built_in_file() {
    let list = PipelineFile::list();
    for (name, _) in BUILT_IN {
        assert!(
            list.iter()
                .any(|listed| listed.name == *name && listed.file.is_ok()),
            "{name}"
        );
    }
}
