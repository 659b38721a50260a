//! What a request costs with more keys, more connections, more threads.

use testkit::Server;

use super::cost::{Round, Shape, medians, pin_server, round, workload};
use super::{Plan, Section, both, larder, median, processors};
use crate::load::fill_keys;

pub(super) fn run(plan: &Plan) -> Result<Section, String> {
    let mut section = Section::new(&["what", "server", "CPU us/request", "requests/s"]);
    keys(plan, &mut section)?;
    connections(plan, &mut section)?;
    threads(plan, &mut section)?;
    Ok(section)
}

/// Medians of several rounds on each of some servers in turn.
fn in_turn(plan: &Plan, servers: &[&Server], name: &str, shape: Shape) -> Result<Vec<Round>, String> {
    let rounds = rounds(plan, servers, name, &[shape])?;
    Ok(rounds.iter().map(|rounds| medians(rounds)).collect())
}

/// Several rounds on each of some servers with each of some shapes, all of these in turn: first the rounds of the first
/// server with the first shape, then those of the second server with it.
fn rounds(plan: &Plan, servers: &[&Server], name: &str, shapes: &[Shape]) -> Result<Vec<Vec<Round>>, String> {
    let mut rounds = vec![Vec::new(); servers.len() * shapes.len()];
    for _ in 0..plan.rounds {
        let pairs = shapes.iter().flat_map(|shape| servers.iter().map(move |server| (shape, server)));
        for ((shape, server), rounds) in pairs.zip(&mut rounds) {
            rounds.push(round(server, workload(name), *shape)?);
        }
    }
    Ok(rounds)
}

fn note(section: &mut Section, what: &str, server: &str, round: Round) {
    let cells = [what, server].map(str::to_owned).into_iter();
    section.row(cells.chain([format!("{:.3}", round.cpu_us), format!("{:.0}", round.rate)]).collect());
}

fn keys(plan: &Plan, section: &mut Section) -> Result<(), String> {
    let servers = both(&[])?;
    let pinned = servers.iter().all(|(_, server)| pin_server(server));
    let requests = plan.choose(3_000_000, 500_000, 2_000);
    let sizes = plan.choose([10_000, 1_000_000, 10_000_000], [10_000, 300_000, 1_000_000], [100, 300, 1_000]);
    let mut costs: Vec<Vec<f64>> = Vec::new();
    for keys in sizes {
        for (_, server) in &servers {
            fill_keys(server, keys)?;
        }
        let mut row = Vec::new();
        for name in ["get-p16", "set-p16"] {
            let shape = Shape { connections: 50, keys, requests, pinned };
            let medians = in_turn(plan, &[&servers[0].1, &servers[1].1], name, shape)?;
            for ((server, _), median) in servers.iter().zip(medians) {
                note(section, &format!("{name}, {keys} keys"), server, median);
                row.push(median.cpu_us);
            }
        }
        costs.push(row);
    }
    let growth = |column: usize| costs[2][column] / costs[0][column];
    // Growth of ours over growth of redis-server's.
    section.judge("scaling/keys", (growth(1) / growth(0)).max(growth(3) / growth(2)));
    Ok(())
}

fn connections(plan: &Plan, section: &mut Section) -> Result<(), String> {
    let keys = plan.choose(1_000_000, 100_000, 1_000);
    let servers = both(&[])?;
    let mut pinned = true;
    for (_, server) in &servers {
        fill_keys(server, keys)?;
        pinned = pin_server(server);
    }
    let requests = plan.choose(300_000, 60_000, 2_000);
    let shapes = [10, 100, 1_000].map(|connections| Shape { connections, keys, requests, pinned });
    let rounds = rounds(plan, &[&servers[0].1, &servers[1].1], "get-p1", &shapes)?;
    for (nth, rounds) in rounds.iter().enumerate() {
        let what = format!("get-p1, {} connections", shapes[nth / 2].connections);
        note(section, &what, servers[nth % 2].0, medians(rounds));
    }
    // Of rounds that followed each other, so that a drift of the machine is in both.
    let growths = rounds[5].iter().zip(&rounds[1]).map(|(many, few)| many.cpu_us / few.cpu_us).collect();
    section.judge("scaling/connections", median(growths));
    Ok(())
}

fn threads(plan: &Plan, section: &mut Section) -> Result<(), String> {
    let keys = plan.choose(1_000_000, 100_000, 1_000);
    let counts = [1, 2, processors(), 4 * processors()];
    let servers: Vec<Server> = counts
        .iter()
        .map(|threads| {
            let server = larder(&["--io-threads", &threads.to_string()])?;
            fill_keys(&server, keys)?;
            Ok(server)
        })
        .collect::<Result<_, String>>()?;
    let requests = plan.choose(2_000_000, 300_000, 2_000);
    let shape = Shape { connections: 50, keys, requests, pinned: false };
    let all: Vec<&Server> = servers.iter().collect();
    let medians = in_turn(plan, &all, "get-p16", shape)?;
    for (threads, median) in counts.iter().zip(&medians) {
        note(
            section,
            &format!("get-p16, {threads} I/O threads, {} processors", processors()),
            "Larder",
            *median,
        );
    }
    if processors() > 1 {
        section.judge("scaling/two-threads", medians[1].cpu_us / medians[0].cpu_us);
    }
    section.judge("scaling/more-threads", medians[3].rate / medians[2].rate);
    Ok(())
}
