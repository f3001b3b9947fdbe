// Tables for tests, and how they are brought to the datasets.
import { mkdtempSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

/** Reviews with a mood: every third one is bad. */
export function reviews(count) {
  const good = ["배송이 빨라요", "정말 맛있어요", "다시 살게요", "친절해요"];
  const bad = ["포장이 엉망이에요", "너무 늦어요", "맛이 없어요", "환불했어요"];
  return Array.from({ length: count }, (_, at) => (at % 3 === 2 ? [`${bad[at % 4]} ${at}`, "부정"] : [`${good[at % 4]} ${at}`, "긍정"]));
}

export function file(name, text) {
  const place = path.join(mkdtempSync(path.join(os.tmpdir(), "saem-dataset-")), name);
  writeFileSync(place, text);
  return place;
}

export async function upload(here, place) {
  const { page, button } = here;
  await page.goto(`${here.server.url}/#/datasets`);
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), button("datasets.upload").click()]);
  await chooser.setFiles(place);
  await page.waitForFunction(() => /#\/datasets\/\w+$/.test(location.hash));
}
