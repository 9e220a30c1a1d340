//! rdkafka: the broker's address, a prefix for names and the features wanted.
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::HashSet;
use std::error::Error;
use std::time::{Duration, Instant};

const PARTITIONS: i32 = 3;
const COUNT: i32 = 300;
const T0: i64 = 1_700_000_000_000;
const WAIT: Duration = Duration::from_secs(20);

type Outcome = Result<(), Box<dyn Error>>;

fn check(ok: bool, what: &str) -> Outcome {
    if ok {
        Ok(())
    } else {
        Err(what.into())
    }
}

struct Run {
    address: String,
    prefix: String,
    runtime: tokio::runtime::Runtime,
}

impl Run {
    fn config(&self) -> ClientConfig {
        let mut c = ClientConfig::new();
        c.set("bootstrap.servers", &self.address);
        c
    }

    fn consumer(&self, group: &str) -> Result<BaseConsumer, Box<dyn Error>> {
        Ok(self
            .config()
            .set("group.id", group)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "500")
            .set("topic.metadata.refresh.interval.ms", "1000")
            .create()?)
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>, Box<dyn Error>> {
        Ok(self.config().create()?)
    }

    fn create(&self, topic: &str, partitions: i32) -> Result<Option<RDKafkaErrorCode>, Box<dyn Error>> {
        let t = NewTopic::new(topic, partitions, TopicReplication::Fixed(1)).set("retention.ms", "600000");
        let r = self.runtime.block_on(self.admin()?.create_topics([&t], &AdminOptions::new()))?;
        Ok(r[0].as_ref().err().map(|e| e.1))
    }

    fn send(&self, topic: &str, codec: &str, partitions: i32) -> Outcome {
        let p: FutureProducer = self.config().set("compression.codec", codec).set("enable.idempotence", "true").set("linger.ms", "5").create()?;
        let all: Vec<(String, String)> = (0..COUNT).map(|i| (format!("k{i}"), format!("v{i} ").repeat(20))).collect();
        let mut sent = Vec::new();
        for (i, (key, value)) in all.iter().enumerate() {
            let h = OwnedHeaders::new().insert(Header { key: "h", value: Some(key) });
            let r = FutureRecord::to(topic).partition(i as i32 % partitions).key(key).payload(value).timestamp(T0 + i as i64).headers(h);
            sent.push(p.send_result(r).map_err(|e| e.0)?);
        }
        for (i, f) in sent.into_iter().enumerate() {
            let d = self.runtime.block_on(f)?.map_err(|e| e.0)?;
            check(d.offset == (i as i32 / partitions) as i64, "an offset")?;
        }
        Ok(())
    }

    fn administration(&self) -> Outcome {
        let (topic, gone) = (format!("{}a", self.prefix), format!("{}gone", self.prefix));
        let (a, o) = (self.admin()?, AdminOptions::new());
        check(self.create(&topic, 2)?.is_none() && self.create(&gone, 1)?.is_none(), "create")?;
        check(self.create(&topic, 2)? == Some(RDKafkaErrorCode::TopicAlreadyExists), "made twice")?;
        check(self.create("no/slash", 2)? == Some(RDKafkaErrorCode::InvalidTopic), "a bad name")?;
        self.runtime.block_on(a.create_partitions([&NewPartitions::new(&topic, 4)], &o))?[0].as_ref().map_err(|e| e.1)?;
        let m = a.inner().fetch_metadata(Some(&topic), WAIT)?;
        check(m.topics()[0].partitions().len() == 4, "four partitions")?;
        let c = self.runtime.block_on(a.describe_configs([&ResourceSpecifier::Topic(&topic)], &o))?.remove(0)?;
        check(c.get("retention.ms").and_then(|e| e.value.clone()) == Some("600000".into()), "retention.ms")?;
        self.runtime.block_on(a.delete_topics(&[&gone], &o))?[0].as_ref().map_err(|e| e.1)?;
        check(!a.inner().fetch_metadata(None, WAIT)?.topics().iter().any(|t| t.name() == gone), "deleted")?;
        let again = self.runtime.block_on(a.delete_topics(&[&gone], &o))?.remove(0);
        check(again.err().map(|e| e.1) == Some(RDKafkaErrorCode::UnknownTopicOrPartition), "deleted twice")
    }

    fn produce(&self) -> Outcome {
        for codec in ["none", "gzip", "snappy", "lz4"] {
            self.send(&format!("{}p-{codec}", self.prefix), codec, 1)?;
        }
        Ok(())
    }

    fn take(&self, c: &BaseConsumer, count: usize, seen: &mut HashSet<String>) -> Outcome {
        let end = Instant::now() + WAIT;
        let mut n = 0;
        while n < count {
            check(Instant::now() < end, &format!("{n} of {count} were read"))?;
            let Some(m) = c.poll(Duration::from_millis(200)) else { continue }; // also where it was a rebalance
            let m = m?;
            n += 1;
            let key = String::from_utf8(m.key().ok_or("no key")?.to_vec())?;
            let i: i64 = key[1..].parse()?;
            check(m.payload() == Some(format!("v{i} ").repeat(20).as_bytes()), "a value")?;
            check(m.timestamp().to_millis() == Some(T0 + i), "a timestamp")?;
            check(m.headers().ok_or("no headers")?.get(0).value == Some(key.as_bytes()), "a header")?;
            check(seen.insert(key), "read twice")?;
        }
        Ok(())
    }

    fn assign(&self, c: &BaseConsumer, topic: &str, partitions: std::ops::Range<i32>, at: i64) -> Outcome {
        let mut l = TopicPartitionList::new();
        for p in partitions {
            l.add_partition_offset(topic, p, Offset::Offset(at))?;
        }
        Ok(c.assign(&l)?)
    }

    fn consume(&self) -> Outcome {
        let c = self.consumer("none")?;
        for codec in ["none", "gzip", "snappy", "lz4"] {
            self.assign(&c, &format!("{}p-{codec}", self.prefix), 0..1, 0)?;
            self.take(&c, COUNT as usize, &mut HashSet::new())?;
        }
        let topic = format!("{}c", self.prefix);
        check(self.create(&topic, PARTITIONS)?.is_none(), "create")?;
        self.send(&topic, "none", PARTITIONS)?;
        self.assign(&c, &topic, 0..PARTITIONS, 0)?;
        self.take(&c, COUNT as usize, &mut HashSet::new())?;
        check(c.fetch_watermarks(&topic, 1, WAIT)? == (0, (COUNT / PARTITIONS) as i64), "watermarks")?;
        let mut l = TopicPartitionList::new();
        l.add_partition_offset(&topic, 1, Offset::Offset(T0 + 122))?;
        check(c.offsets_for_times(l, WAIT)?.elements()[0].offset() == Offset::Offset(41), "by time")?;
        self.assign(&c, &topic, 1..2, 60)?;
        self.take(&c, 40, &mut HashSet::new())
    }

    fn share(&self, members: &[&BaseConsumer], what: &str) -> Outcome {
        let end = Instant::now() + Duration::from_secs(40);
        loop {
            let mut all = Vec::new();
            let mut some = true;
            for m in members {
                if let Some(r) = m.poll(Duration::from_millis(50)) {
                    r?;
                }
                let l: Vec<i32> = m.assignment()?.elements().iter().map(|e| e.partition()).collect();
                some &= !l.is_empty();
                all.extend(l);
            }
            all.sort();
            if some && all == [0, 1, 2] {
                return Ok(());
            }
            check(Instant::now() < end, what)?;
        }
    }

    fn groups(&self) -> Outcome {
        let topic = format!("{}g", self.prefix);
        check(self.create(&topic, PARTITIONS)?.is_none(), "create")?;
        let a = self.consumer(&topic)?;
        a.subscribe(&[&topic])?;
        self.share(&[&a], "one member has all")?;
        {
            let b = self.consumer(&topic)?;
            b.subscribe(&[&topic])?;
            self.share(&[&a, &b], "two members share")?;
            let l = a.fetch_group_list(Some(&topic), WAIT)?;
            check(l.groups()[0].state() == "Stable" && l.groups()[0].members().len() == 2, "the group")?;
        }
        self.share(&[&a], "the one that stays has all")
    }

    fn offsets(&self) -> Outcome {
        let topic = format!("{}o", self.prefix);
        check(self.create(&topic, PARTITIONS)?.is_none(), "create")?;
        self.send(&topic, "none", PARTITIONS)?;
        let mut seen = HashSet::new();
        for n in [100, COUNT as usize - 100] {
            let c = self.consumer(&topic)?;
            c.subscribe(&[&topic])?;
            self.take(&c, n, &mut seen)?;
            c.commit_consumer_state(CommitMode::Sync)?;
        }
        let c = self.consumer(&topic)?;
        let mut l = TopicPartitionList::new();
        l.add_partition(&topic, 1);
        let at = c.committed_offsets(l, WAIT)?.elements()[0].offset();
        check(at == Offset::Offset((COUNT / PARTITIONS) as i64), "what is committed")?;
        let a = self.admin()?;
        let r = self.runtime.block_on(a.delete_groups(&[&topic], &AdminOptions::new()))?.remove(0);
        check(r.is_ok(), "delete the group")?;
        let r = self.runtime.block_on(a.delete_groups(&[&topic], &AdminOptions::new()))?.remove(0);
        check(r.err().map(|e| e.1) == Some(RDKafkaErrorCode::GroupIdNotFound), "deleted twice")
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let run = Run { address: args[1].clone(), prefix: args[2].clone(), runtime };
    let mut status = 0;
    for name in args[3].split(',') {
        let outcome = match name {
            "admin" => run.administration(),
            "produce" => run.produce(),
            "consume" => run.consume(),
            "groups" => run.groups(),
            "offsets" => run.offsets(),
            _ => Err("no such feature".into()),
        };
        match outcome {
            Ok(()) => println!("ok {name}"),
            Err(e) => {
                println!("failed {name}: {e}");
                status = 1;
            }
        }
    }
    std::process::exit(status);
}
