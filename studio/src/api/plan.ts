// What `POST /api/studio/plan` answers: the plan of `saem plan --json`, which is described in docs/reference.

export interface Arrangement {
  devices: number;
  nodes: number;
  data: number;
  tensor: number;
  pipeline: number;
  sharding: string;
  micro_batch: number;
  recompute: string;
  memory: { weights: number; gradients: number; optimizer: number; activations: number; logits: number; working: number; total: number; limit: number };
  utilisation: number;
  seconds_per_step: number;
  steps: number;
  days: number;
  days_least: number;
  days_most: number;
  energy_kwh: number;
  cost: number | null;
}

export interface ClusterPlan {
  shape: { layers: number; hidden: number; parameters: number };
  tokens: number;
  batch_tokens: number;
  steps: number;
  operations: { per_token: number; total: number };
  optimal: { law: string; parameters: number; tokens: number; loss: number | null; loss_asked: number | null }[];
  hardware: { device: { name: string; title: string; memory: number; source: string }; minimum: Arrangement | null; chosen: Arrangement | null }[];
  checks: { run: string; hardware: string; devices: number; days: number; planned: number; source: string }[];
}
