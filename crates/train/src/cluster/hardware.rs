//! Devices that models are trained on, as their makers publish them.
//!
//! `operations` are dense products of 16-bit floats with sums in 32 bits. `efficiency` is the share of them that large
//! products reach in training, before tensor communication and pipelines take their part; it is an assumption, and the
//! checks against published runs ([`super::checks`]) show how good it is. Prices are those of one list at one date, and
//! the question can bring another.

use serde::Serialize;

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Hardware {
    /// Its short name.
    pub name: &'static str,
    /// Its name.
    pub title: &'static str,
    /// Operations a second, 16-bit floats with 32-bit sums, dense.
    pub operations: f64,
    /// Bytes of memory.
    pub memory: f64,
    /// Bytes a second from it.
    pub bandwidth: f64,
    /// Bytes a second between devices of a node, both directions together.
    pub link: f64,
    /// Bytes a second between nodes for each device, one direction.
    pub network: f64,
    /// Devices in a node, among which weights can be cut.
    pub per_node: u64,
    /// Watts at most.
    pub watts: f64,
    /// Dollars an hour, where a price was found.
    pub price: Option<f64>,
    /// Share of `operations` that large products reach.
    pub efficiency: f64,
    /// Where the figures are published.
    pub source: &'static str,
    /// Where the price is published, and when.
    pub price_source: &'static str,
}

const MERCATUS: &str = "mercatus-ai.com/blog/cloud-gpu-pricing, May 2026, middle of the specialised clouds";
const RUNPOD: &str = "RunPod list price (usagepricing.com/blueprint/billing-units/gpu-hour-pricing, 2026)";
const GOOGLE: &str = "cloud.google.com/tpu/pricing, on demand";

const GB: f64 = 1e9;
const TERA: f64 = 1e12;

/// What the cards of this list have in common.
const CARD: Hardware = Hardware {
    name: "",
    title: "",
    operations: 0.0,
    memory: 0.0,
    bandwidth: 0.0,
    link: 0.0,
    network: 0.0,
    per_node: 8,
    watts: 0.0,
    price: None,
    efficiency: 0.6,
    source: "",
    price_source: "",
};

const ALL: &[Hardware] = &[
    Hardware {
        name: "v100-32g",
        title: "NVIDIA V100 32 GB SXM2",
        operations: 125.0 * TERA,
        memory: 32.0 * GB,
        bandwidth: 900.0 * GB,
        link: 300.0 * GB,
        network: 12.5 * GB,
        watts: 300.0,
        source: "NVIDIA V100 datasheet (2020); network: 100 Gb/s for each device",
        ..CARD
    },
    Hardware {
        name: "a100-40g",
        title: "NVIDIA A100 40 GB SXM",
        operations: 312.0 * TERA,
        memory: 40.0 * GB,
        bandwidth: 1555.0 * GB,
        link: 600.0 * GB,
        network: 25.0 * GB,
        watts: 400.0,
        source: "NVIDIA A100 datasheet (2021); network: DGX A100, 200 Gb/s for each device",
        ..CARD
    },
    Hardware {
        name: "a100-80g",
        title: "NVIDIA A100 80 GB SXM",
        operations: 312.0 * TERA,
        memory: 80.0 * GB,
        bandwidth: 2039.0 * GB,
        link: 600.0 * GB,
        network: 25.0 * GB,
        watts: 400.0,
        price: Some(1.3),
        source: "NVIDIA A100 datasheet (2021); network: DGX A100, 200 Gb/s for each device",
        price_source: MERCATUS,
        ..CARD
    },
    Hardware {
        name: "h100",
        title: "NVIDIA H100 80 GB SXM",
        operations: 989.4 * TERA,
        memory: 80.0 * GB,
        bandwidth: 3350.0 * GB,
        link: 900.0 * GB,
        network: 50.0 * GB,
        watts: 700.0,
        price: Some(3.0),
        efficiency: 0.52,
        source: "NVIDIA H100 datasheet (2023); network: DGX H100, 400 Gb/s for each device",
        price_source: MERCATUS,
        ..CARD
    },
    Hardware {
        name: "h200",
        title: "NVIDIA H200 141 GB SXM",
        operations: 989.4 * TERA,
        memory: 141.0 * GB,
        bandwidth: 4800.0 * GB,
        link: 900.0 * GB,
        network: 50.0 * GB,
        watts: 700.0,
        price: Some(4.0),
        efficiency: 0.52,
        source: "NVIDIA H200 datasheet (2024); network: 400 Gb/s for each device",
        price_source: MERCATUS,
        ..CARD
    },
    Hardware {
        name: "b200",
        title: "NVIDIA B200 180 GB SXM",
        operations: 2250.0 * TERA,
        memory: 180.0 * GB,
        bandwidth: 8000.0 * GB,
        link: 1800.0 * GB,
        network: 50.0 * GB,
        watts: 1000.0,
        price: Some(5.89),
        efficiency: 0.45,
        source: "NVIDIA HGX B200 datasheet (2024); network: 400 Gb/s for each device",
        price_source: RUNPOD,
        ..CARD
    },
    Hardware {
        name: "mi250x",
        title: "AMD Instinct MI250X",
        operations: 383.0 * TERA,
        memory: 128.0 * GB,
        bandwidth: 3277.0 * GB,
        link: 400.0 * GB,
        network: 25.0 * GB,
        per_node: 4,
        watts: 560.0,
        efficiency: 0.42,
        source: "AMD Instinct MI250X datasheet (2021); network: LUMI, 200 Gb/s for each module",
        ..CARD
    },
    Hardware {
        name: "mi300x",
        title: "AMD Instinct MI300X",
        operations: 1307.4 * TERA,
        memory: 192.0 * GB,
        bandwidth: 5300.0 * GB,
        link: 896.0 * GB,
        network: 50.0 * GB,
        watts: 750.0,
        efficiency: 0.42,
        source: "AMD Instinct MI300X datasheet (2023); network: 400 Gb/s for each device",
        ..CARD
    },
    Hardware {
        name: "tpu-v3",
        title: "Google TPU v3",
        operations: 123.0 * TERA,
        memory: 32.0 * 1.073_741_824 * GB,
        bandwidth: 900.0 * GB,
        link: 328.0 * GB,
        network: 40.0 * GB,
        watts: 262.0,
        efficiency: 0.65,
        source: "Jouppi et al. 2023, \"TPU v4\" (arXiv 2304.01433), table 4",
        ..CARD
    },
    Hardware {
        name: "tpu-v4",
        title: "Google TPU v4",
        operations: 275.0 * TERA,
        memory: 32.0 * 1.073_741_824 * GB,
        bandwidth: 1200.0 * GB,
        link: 600.0 * GB,
        network: 50.0 * GB,
        per_node: 16,
        watts: 192.0,
        price: Some(3.22),
        efficiency: 0.65,
        source: "Jouppi et al. 2023, \"TPU v4\" (arXiv 2304.01433), table 4: six links of 50 GB/s each way, 192 W at most; \
                 a node stands for 16 chips of the torus",
        price_source: GOOGLE,
    },
    Hardware {
        name: "tpu-v5e",
        title: "Google TPU v5e",
        operations: 197.0 * TERA,
        memory: 16.0 * GB,
        bandwidth: 819.0 * GB,
        link: 400.0 * GB,
        network: 25.0 * GB,
        watts: 200.0,
        price: Some(1.2),
        efficiency: 0.6,
        source: "cloud.google.com/tpu/docs/v5e (watts: estimate, not published)",
        price_source: GOOGLE,
        ..CARD
    },
    Hardware {
        name: "tpu-v5p",
        title: "Google TPU v5p",
        operations: 459.0 * TERA,
        memory: 95.0 * GB,
        bandwidth: 2765.0 * GB,
        link: 1200.0 * GB,
        network: 50.0 * GB,
        per_node: 16,
        watts: 350.0,
        price: Some(4.2),
        efficiency: 0.6,
        source: "cloud.google.com/tpu/docs/v5p (watts: estimate, not published)",
        price_source: GOOGLE,
    },
    Hardware {
        name: "l40s",
        title: "NVIDIA L40S",
        operations: 362.0 * TERA,
        memory: 48.0 * GB,
        bandwidth: 864.0 * GB,
        link: 64.0 * GB,
        network: 12.5 * GB,
        watts: 350.0,
        efficiency: 0.45,
        source: "NVIDIA L40S datasheet (2023); between devices: PCIe 4.0 x16",
        ..CARD
    },
    Hardware {
        name: "a6000",
        title: "NVIDIA RTX A6000",
        operations: 154.8 * TERA,
        memory: 48.0 * GB,
        bandwidth: 768.0 * GB,
        link: 64.0 * GB,
        network: 12.5 * GB,
        watts: 300.0,
        efficiency: 0.55,
        source: "NVIDIA GA102 whitepaper (2021); between devices: PCIe 4.0 x16",
        ..CARD
    },
    Hardware {
        name: "rtx3090",
        title: "NVIDIA GeForce RTX 3090",
        operations: 71.0 * TERA,
        memory: 24.0 * GB,
        bandwidth: 936.0 * GB,
        link: 64.0 * GB,
        network: 1.25 * GB,
        per_node: 4,
        watts: 350.0,
        source: "NVIDIA GA102 whitepaper (2021); between devices: PCIe 4.0 x16, between machines: 10 Gb/s",
        ..CARD
    },
    Hardware {
        name: "rtx4090",
        title: "NVIDIA GeForce RTX 4090",
        operations: 165.2 * TERA,
        memory: 24.0 * GB,
        bandwidth: 1008.0 * GB,
        link: 64.0 * GB,
        network: 1.25 * GB,
        per_node: 4,
        watts: 450.0,
        price: Some(0.69),
        source: "NVIDIA Ada whitepaper (2023); between devices: PCIe 4.0 x16, between machines: 10 Gb/s",
        price_source: RUNPOD,
        ..CARD
    },
    Hardware {
        name: "rtx5090",
        title: "NVIDIA GeForce RTX 5090",
        operations: 209.5 * TERA,
        memory: 32.0 * GB,
        bandwidth: 1792.0 * GB,
        link: 128.0 * GB,
        network: 1.25 * GB,
        per_node: 4,
        watts: 575.0,
        source: "NVIDIA RTX Blackwell whitepaper (2025); between devices: PCIe 5.0 x16, between machines: 10 Gb/s",
        ..CARD
    },
];

/// All devices of the table.
#[must_use]
pub fn all() -> &'static [Hardware] {
    ALL
}

/// The device of this name; `a100` and `v100` are those with the most memory.
#[must_use]
pub fn find(name: &str) -> Option<&'static Hardware> {
    let plain = name.trim().to_ascii_lowercase().replace(['_', ' '], "-");
    let plain = match &*plain {
        "a100" => "a100-80g",
        "v100" => "v100-32g",
        "4090" => "rtx4090",
        "3090" => "rtx3090",
        other => other,
    };
    ALL.iter().find(|device| device.name == plain)
}
