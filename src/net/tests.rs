//! Which interfaces are chosen.

use super::*;

fn machine(interfaces: &[(&str, &str)]) -> Vec<Interface> {
    let interface = |&(name, ip): &(&str, &str)| Interface {
        name: name.to_owned(),
        ip: ip.parse().unwrap(),
    };
    interfaces.iter().map(interface).collect()
}

fn rules(allow: &[&str], deny: &[&str]) -> InterfaceRules {
    let names = |list: &[&str]| list.iter().map(|name| name.parse().unwrap()).collect();
    InterfaceRules {
        allow: names(allow),
        deny: names(deny),
    }
}

fn chosen(rules: &InterfaceRules, machine: &[Interface]) -> Vec<String> {
    let chosen = rules.choose(machine).unwrap();
    chosen.iter().map(|it| it.ip.to_string()).collect()
}

const LO: [(&str, &str); 2] = [("lo", "127.0.0.1"), ("lo", "::1")];

#[test]
fn bridges_of_containers_and_link_local_addresses_are_left_out_beside_better_ones() {
    let mut all = LO.to_vec();
    all.extend([
        ("eth0", "192.168.1.5"),
        ("eth0", "2001:db8::5"),
        ("eth0", "fe80::5"),
        ("docker0", "172.17.0.1"),
        ("br-0123456789ab", "172.18.0.1"),
        ("veth1234", "fe80::6"),
        ("wlan0", "10.0.0.5"),
    ]);
    let expected = ["192.168.1.5", "2001:db8::5", "10.0.0.5"];
    assert_eq!(chosen(&rules(&[], &[]), &machine(&all)), expected);
}

#[test]
fn what_there_is_is_used_when_there_is_nothing_better() {
    let rules = rules(&[], &[]);
    let lo = machine(&LO);
    assert_eq!(chosen(&rules, &lo), ["127.0.0.1", "::1"]);
    let linked = machine(&[("lo", "127.0.0.1"), ("eth0", "fe80::5")]);
    assert_eq!(chosen(&rules, &linked), ["fe80::5"]);
    let bridged = machine(&[("lo", "127.0.0.1"), ("docker0", "172.17.0.1")]);
    assert_eq!(chosen(&rules, &bridged), ["172.17.0.1"]);
}

#[test]
fn lists_choose_by_name_and_by_beginning() {
    let all = machine(&[
        ("lo", "127.0.0.1"),
        ("eth0", "192.168.1.5"),
        ("eth0", "fe80::5"),
        ("wlan0", "10.0.0.5"),
        ("docker0", "172.17.0.1"),
    ]);
    for (allow, deny, expected) in [
        (&["docker*"][..], &[][..], &["172.17.0.1"][..]),
        (&["lo", "wlan0"], &[], &["127.0.0.1", "10.0.0.5"]),
        (&[], &["wl*"], &["192.168.1.5"]),
        (&[], &["wl*", "eth0"], &["172.17.0.1"]),
        (&["eth0", "wlan0"], &["eth*"], &["10.0.0.5"]),
    ] {
        assert_eq!(
            chosen(&rules(allow, deny), &all),
            expected,
            "{allow:?} {deny:?}"
        );
    }
}

#[test]
fn lists_that_leave_nothing_say_what_there_is() {
    let all = machine(&[("lo", "127.0.0.1"), ("eth0", "192.168.1.5")]);
    for rules in [rules(&["wlan0"], &[]), rules(&[], &["*"])] {
        let said = rules.choose(&all).unwrap_err().to_string();
        assert!(
            said.ends_with("it has lo (127.0.0.1), eth0 (192.168.1.5)"),
            "{said}"
        );
    }
}

#[test]
fn so_many_addresses_at_most() {
    let many: Vec<_> = (0..100)
        .map(|n| Interface {
            name: format!("eth{n}"),
            ip: IpAddr::from([10, 0, 0, n]),
        })
        .collect();
    assert_eq!(rules(&[], &[]).choose(&many).unwrap().len(), ADDRESSES);
}

#[test]
fn a_name_is_one_word_with_a_star_at_its_end_only() {
    for wrong in ["", "e th", "a/b", "*a", "a*b", "**"] {
        assert!(wrong.parse::<InterfaceName>().is_err(), "{wrong}");
    }
    assert!("*".parse::<InterfaceName>().unwrap().matches("eth0"));
}

#[test]
fn this_machine_has_at_least_one_address() {
    assert!(!InterfaceRules::default().addresses().unwrap().is_empty());
}

#[test]
fn private_addresses_are_those_that_mean_nothing_outside() {
    let private = |ip: &str| is_private(ip.parse().unwrap());
    for ip in [
        "10.1.2.3",
        "172.17.0.2",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.1.1",
        "::1",
        "fd00::1",
        "fe80::1",
    ] {
        assert!(private(ip), "{ip}");
    }
    for ip in ["203.0.113.1", "100.128.0.1", "172.32.0.1", "2001:db8::1"] {
        assert!(!private(ip), "{ip}");
    }
}

#[test]
fn a_range_of_ports_has_two_ends_in_order() {
    let range = PortRange { min: 5, max: 9 };
    assert_eq!("5-9".parse(), Ok(range));
    for wrong in ["", "5", "9-5", "0-5", "5-70000", "a-b"] {
        assert!(wrong.parse::<PortRange>().is_err(), "{wrong}");
    }
}
