//! Default values of the configuration, in one place for serde.

use std::path::PathBuf;

pub(super) fn port_master() -> u16 {
    5050
}
pub(super) fn port_agent() -> u16 {
    5051
}
pub(super) fn port_jupyter() -> u16 {
    8888
}
pub(super) fn yes() -> bool {
    true
}
pub(super) fn five() -> u32 {
    5
}
pub(super) fn five_s() -> i64 {
    5
}
pub(super) fn ten() -> u32 {
    10
}
pub(super) fn ms_100() -> u64 {
    100
}
pub(super) fn ms_1s() -> u64 {
    1_000
}
pub(super) fn ms_2s() -> u64 {
    2_000
}
pub(super) fn ms_5s() -> u64 {
    5_000
}
pub(super) fn ms_10s() -> u64 {
    10_000
}
pub(super) fn ms_15s() -> u64 {
    15_000
}
pub(super) fn ms_30s() -> u64 {
    30_000
}
pub(super) fn ms_60s() -> u64 {
    60_000
}
pub(super) fn ms_10min() -> u64 {
    600_000
}
pub(super) fn ms_15min() -> u64 {
    900_000
}
pub(super) fn ms_6h() -> u64 {
    6 * 3_600_000
}
pub(super) fn seconds_7days() -> f64 {
    7.0 * 86_400.0
}
pub(super) fn waiting_max() -> usize {
    256
}
pub(super) fn asn() -> u32 {
    64_512
}
pub(super) fn containerizers() -> Vec<String> {
    vec!["docker".to_owned()]
}
pub(super) fn role() -> String {
    "stormbed".to_owned()
}
pub(super) fn network() -> String {
    "calico".to_owned()
}
pub(super) fn docker_socket() -> PathBuf {
    "/var/run/docker.sock".into()
}
pub(super) fn plugin_dir() -> PathBuf {
    "/run/docker/plugins".into()
}
pub(super) fn log_dir() -> PathBuf {
    "/var/log/stormbed".into()
}
pub(super) fn shared_on_host() -> PathBuf {
    "/srv/shared".into()
}
pub(super) fn slots_on_host() -> PathBuf {
    "/var/lib/stormbed/slots".into()
}
