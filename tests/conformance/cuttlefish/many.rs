//! Many at once: everyone gets what is theirs, and nothing else.

use futures_util::future::join_all;
use serde_json::json;

use super::{client_msg, device_msg, nothing_came};
use crate::common::Server;

#[tokio::test]
async fn two_devices_with_the_same_client_numbers_do_not_meet() {
    let server = Server::start(&[]).await;
    let mut devices = [server.device("a").await, server.device("b").await];
    let mut clients = [server.viewer("a").await, server.viewer("b").await];
    for round in 0..100 {
        for (side, client) in clients.iter_mut().enumerate() {
            client.forward(&json!([side, round])).await;
        }
        for (side, device) in devices.iter_mut().enumerate() {
            device.expect(client_msg(1, &json!([side, round]))).await;
            device.forward_to(1, &json!([round, side])).await;
        }
        for (side, client) in clients.iter_mut().enumerate() {
            client.expect(device_msg(&json!([round, side]))).await;
        }
    }
    let [a, mut b] = devices;
    drop(a);
    let [mut of_a, mut of_b] = clients;
    super::refused(&mut of_a, "Device disconnected").await;
    nothing_came(&mut b).await;
    nothing_came(&mut of_b).await;
}

#[tokio::test]
async fn each_of_200_clients_of_a_device_gets_its_own_messages() {
    const CLIENTS: usize = 200;
    const ROUNDS: usize = 5;
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut clients = join_all((0..CLIENTS).map(|_| server.viewer("d"))).await;
    let talk = clients.iter_mut().enumerate().map(async |(me, client)| {
        for round in 0..ROUNDS {
            client.forward(&json!([me, round])).await;
            client
                .expect(device_msg(&json!({"for": [me, round]})))
                .await;
        }
        nothing_came(client).await;
    });
    let answer = async {
        let mut numbers = [None; CLIENTS];
        for _ in 0..CLIENTS * ROUNDS {
            let message = device.recv_json().await;
            let number = u32::try_from(message["client_id"].as_u64().unwrap()).unwrap();
            let me = usize::try_from(message["payload"][0].as_u64().unwrap()).unwrap();
            // A client keeps its number.
            assert_eq!(*numbers[me].get_or_insert(number), number);
            device
                .forward_to(number, &json!({"for": message["payload"]}))
                .await;
        }
        let mut numbers: Vec<_> = numbers.into_iter().flatten().collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(1..=200), "each number once");
    };
    tokio::join!(join_all(talk), answer);
}

#[tokio::test]
async fn bursts_of_many_clients_at_once_reach_a_device_that_reads() {
    const CLIENTS: usize = 100;
    const BURST: u64 = 50;
    let server = Server::start(&[]).await;
    let mut device = server.device("d").await;
    let mut clients = join_all((0..CLIENTS).map(|_| server.viewer("d"))).await;
    let burst = clients.iter_mut().map(async |client| {
        for n in 0..BURST {
            client.forward(&json!(n)).await;
        }
    });
    let receive = async {
        let mut next = [0; CLIENTS];
        for _ in 0..BURST * CLIENTS as u64 {
            let message = device.recv_json().await;
            let client = usize::try_from(message["client_id"].as_u64().unwrap()).unwrap();
            assert_eq!(
                message["payload"],
                next[client - 1],
                "in each client's order"
            );
            next[client - 1] += 1;
        }
    };
    tokio::join!(join_all(burst), receive);
}

#[tokio::test]
async fn many_devices_come_talk_and_go() {
    const DEVICES: usize = 60;
    let server = Server::start(&[]).await;
    let call = async |n: usize| {
        let id = format!("cvd-{n}");
        let mut device = server.device(&id).await;
        let mut client = server.viewer(&id).await;
        for round in 0..10 {
            client.forward(&json!([n, round])).await;
            device.expect(client_msg(1, &json!([n, round]))).await;
            device.forward_to(1, &json!([round, n])).await;
            client.expect(device_msg(&json!([round, n]))).await;
        }
        device
    };
    let devices = join_all((0..DEVICES).map(call)).await;
    let listed = server.get("/devices").await.json();
    assert_eq!(listed.as_array().unwrap().len(), DEVICES);
    drop(devices);
    server.wait_for_metric("switchboard_endpoints", 0.0).await;
    assert_eq!(server.get("/devices").await.json(), json!([]));
}
