//! Plans: kept, grown, refused, and turned into command lines.

use super::*;

fn wanted(providers: u16) -> Wanted {
    Wanted { providers: Some(providers), ..Wanted::default() }
}

#[test]
fn a_plan_is_found_again_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut plan = Plan::take_up(dir.path(), &wanted(3), || "net".into()).unwrap();
    plan.key = Some(AccessKey { access_key: "a".into(), secret_key: "s".into() });
    plan.save(dir.path()).unwrap();
    let again = Plan::take_up(dir.path(), &Wanted::default(), || "other".into()).unwrap();
    assert_eq!(again, plan);
    let port_zero = Wanted { s3_listen: Some("127.0.0.1:0".parse().unwrap()), ..Wanted::default() };
    assert_eq!(Plan::take_up(dir.path(), &port_zero, String::new).unwrap(), plan);
}

#[test]
fn a_plan_grows_and_does_not_shrink() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan::take_up(dir.path(), &wanted(2), || "net".into()).unwrap();
    let grown = Plan::take_up(dir.path(), &wanted(4), String::new).unwrap();
    assert_eq!(grown.provider_ports[..2], plan.provider_ports[..]);
    assert_eq!(grown.names().len(), 7);
    assert!(Plan::take_up(dir.path(), &wanted(1), String::new).is_err());
}

#[test]
fn what_is_asked_for_replaces_what_was() {
    let dir = tempfile::tempdir().unwrap();
    let first = Wanted { redundancy: Redundancy::new(2, 4).ok(), ..wanted(4) };
    Plan::take_up(dir.path(), &first, || "net".into()).unwrap();
    let second = Wanted { space: Some(ByteLen(1 << 30)), s3_listen: Some("127.0.0.1:9".parse().unwrap()), ..Wanted::default() };
    let plan = Plan::take_up(dir.path(), &second, String::new).unwrap();
    assert_eq!((plan.space, plan.redundancy.as_deref(), plan.s3_listen.port()), (ByteLen(1 << 30), Some("2/4"), 9));
    let outside = Wanted { s3_listen: Some("0.0.0.0:9".parse().unwrap()), ..Wanted::default() };
    assert!(Plan::take_up(dir.path(), &outside, String::new).is_err());
}

#[test]
fn a_network_has_a_ledger_unless_it_is_free() {
    let names = |wanted: &Wanted, dir: &Path| Plan::take_up(dir, wanted, String::new).map(|plan| plan.names());
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(names(&wanted(1), dir.path()).unwrap()[0], Name::Chain);
    let free = Wanted { paid: Some(false), ..wanted(1) };
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(names(&free, dir.path()).unwrap()[0], Name::Bootstrap);
    assert_eq!(names(&wanted(1), dir.path()).unwrap()[0], Name::Bootstrap, "it stays as it was");
    let old = r#"{"version":1,"network_id":"n","region":"r","s3_listen":"127.0.0.1:1","space":"1GiB","redundancy":null,
        "bootstrap_port":2,"gateway_port":3,"provider_ports":[4],"key":null}"#;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), old).unwrap();
    assert_eq!(names(&Wanted::default(), dir.path()).unwrap()[0], Name::Bootstrap, "a plan of before there were ledgers");
}

#[test]
fn a_network_on_another_chain_has_no_ledger_of_its_own_and_does_not_move() {
    let dir = tempfile::tempdir().unwrap();
    let on = |url: &str| Wanted { chain: Some(url.into()), ..wanted(1) };
    let plan = Plan::take_up(dir.path(), &on("http://127.0.0.1:1"), String::new).unwrap();
    assert_eq!(plan.names(), [Name::Bootstrap, Name::Provider(1), Name::Gateway]);
    for name in [Name::Provider(1), Name::Gateway] {
        let args = plan.arguments(dir.path(), name, "/ip4/127.0.0.1/tcp/1/p2p/x").unwrap();
        assert!(args.contains(&"--chain=http://127.0.0.1:1".to_owned()), "{args:?}");
        assert!(args.iter().any(|arg| arg.starts_with("--contracts=")), "{args:?}");
    }
    assert_eq!(Plan::take_up(dir.path(), &Wanted::default(), String::new).unwrap(), plan);
    assert!(Plan::take_up(dir.path(), &on("http://127.0.0.1:2"), String::new).is_err());
    let dir = tempfile::tempdir().unwrap();
    Plan::take_up(dir.path(), &wanted(1), String::new).unwrap();
    assert!(Plan::take_up(dir.path(), &on("http://127.0.0.1:1"), String::new).is_err());
}

#[test]
fn damaged_plans_are_refused() {
    for text in ["", "{}", "{\"version\":2}", "[]"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), text).unwrap();
        assert!(Plan::load(dir.path()).is_err(), "{text}");
    }
}

#[test]
fn processes_have_names() {
    for (text, name) in [
        ("1", Some(Name::Provider(1))),
        ("p12", Some(Name::Provider(12))),
        ("gateway", Some(Name::Gateway)),
        ("chain", Some(Name::Chain)),
        ("bootstrap", Some(Name::Bootstrap)),
        ("0", None),
        ("p0", None),
        ("q1", None),
        ("", None),
        ("-1", None),
        ("70000", None),
    ] {
        assert_eq!(text.parse::<Name>().ok(), name, "{text}");
    }
}

#[test]
fn every_process_gets_a_command_line_the_program_understands() {
    use clap::Parser;
    let dir = tempfile::tempdir().unwrap();
    let plan =
        Plan::take_up(dir.path(), &Wanted { redundancy: Redundancy::new(1, 2).ok(), ..wanted(2) }, || "net".into()).unwrap();
    for name in plan.names() {
        let args = plan.arguments(dir.path(), name, "/ip4/127.0.0.1/tcp/1/p2p/x").unwrap();
        crate::args::Cairn::try_parse_from(std::iter::once("cairn".to_owned()).chain(args)).unwrap();
    }
    assert!(plan.arguments(dir.path(), Name::Provider(3), "").is_err());
}
