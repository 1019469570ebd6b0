//! What was measured of the Key Service of Azure IoT's identity service, 1.6.0, release build, on
//! two cores of the same kind: closed loop over kept connections, the best of six rounds of 5 s,
//! the least CPU time of its process. Keys in files beside ours in software, and on SoftHSM. The
//! last two rows are of its TPM daemon alone, without the Key Service in front, with the emulator's
//! CPU time in it. The machine had other work to do then (load average 2 to 7).

/// A cell of that measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    pub(super) per_second: u32,
    pub(super) p99_us: Option<u32>,
    /// CPU time for each request, microseconds.
    pub(super) cpu_us: Option<u32>,
}

/// What the peer needs for the same request.
pub(super) fn figure(provider: &str, what: &str, connections: usize) -> Option<Figure> {
    let same = |row: &&Row| row.0 == provider && row.1 == what && row.2 == connections;
    let Row(.., per_second, p99_us, cpu_us) = ROWS.iter().find(same)?;
    let known = |figure: u32| (figure > 0).then_some(figure);
    Some(Figure { per_second: *per_second, p99_us: known(*p99_us), cpu_us: known(*cpu_us) })
}

/// Provider, request, connections; requests/s, 99th percentile and CPU time in µs, 0 where it was
/// not noted.
struct Row(&'static str, &'static str, usize, u32, u32, u32);

const ROWS: [Row; 38] = [
    Row("soft", "sign 64 B", 1, 11_390, 333, 61),
    Row("soft", "sign 64 B", 4, 18_773, 1_699, 46),
    Row("soft", "sign 64 B", 16, 20_147, 1_635, 47),
    Row("soft", "encrypt 32 B", 1, 17_980, 114, 47),
    Row("soft", "encrypt 32 B", 4, 19_391, 661, 46),
    Row("soft", "encrypt 32 B", 16, 18_949, 2_624, 50),
    Row("soft", "encrypt 4 KiB", 1, 15_049, 143, 54),
    Row("soft", "encrypt 4 KiB", 4, 15_694, 2_348, 56),
    Row("soft", "encrypt 4 KiB", 16, 14_956, 3_155, 63),
    Row("soft", "decrypt 32 B", 1, 10_403, 637, 56),
    Row("soft", "decrypt 32 B", 4, 19_948, 1_134, 45),
    Row("soft", "decrypt 32 B", 16, 17_752, 1_679, 52),
    Row("soft", "decrypt 4 KiB", 1, 9_658, 802, 70),
    Row("soft", "decrypt 4 KiB", 4, 15_444, 1_006, 54),
    Row("soft", "decrypt 4 KiB", 16, 15_778, 2_039, 60),
    Row("soft", "GET /key", 1, 16_270, 0, 0),
    Row("soft", "GET /key", 16, 18_585, 0, 0),
    Row("hsm", "sign 64 B", 1, 1_936, 2_260, 452),
    Row("hsm", "sign 64 B", 4, 2_188, 7_286, 449),
    Row("hsm", "sign 64 B", 16, 2_222, 13_527, 448),
    Row("hsm", "encrypt 32 B", 1, 2_141, 624, 441),
    Row("hsm", "encrypt 32 B", 4, 2_177, 4_132, 453),
    Row("hsm", "encrypt 32 B", 16, 2_091, 13_260, 460),
    Row("hsm", "encrypt 4 KiB", 1, 1_998, 829, 467),
    Row("hsm", "encrypt 4 KiB", 4, 2_145, 4_035, 449),
    Row("hsm", "encrypt 4 KiB", 16, 2_172, 9_908, 468),
    Row("hsm", "decrypt 32 B", 1, 2_039, 846, 456),
    Row("hsm", "decrypt 32 B", 4, 2_311, 2_391, 450),
    Row("hsm", "decrypt 32 B", 16, 2_123, 9_507, 455),
    Row("hsm", "decrypt 4 KiB", 1, 2_052, 702, 472),
    Row("hsm", "decrypt 4 KiB", 4, 2_064, 3_062, 470),
    Row("hsm", "decrypt 4 KiB", 16, 2_073, 10_755, 461),
    Row("hsm", "GET /key", 1, 2_000, 0, 0),
    Row("hsm", "GET /key", 16, 2_388, 0, 0),
    Row("hsm", "sign 64 B, 200 keys more", 1, 54, 0, 14_700),
    Row("hsm", "sign 64 B, 200 keys more", 16, 71, 0, 0),
    Row("tpm", "sign 64 B", 1, 5_701, 0, 135),
    Row("tpm", "sign 64 B", 4, 7_319, 0, 0),
];
