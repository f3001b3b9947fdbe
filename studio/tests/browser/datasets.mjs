// Tables to tune on: brought by button and by drop, examined, shown, removed.
import assert from "node:assert/strict";
import { file, reviews, upload } from "./tables.mjs";

export async function a_dataset_is_examined_shown_and_removed(here) {
  const { page, t, button } = here;
  await here.go("/#/datasets");
  const rows = reviews(60).map((row) => row.join(","));
  rows.splice(10, 0, "한 칸뿐인 줄", ",긍정", rows[3]);
  await upload(here, file("후기.csv", ["document,label", ...rows].join("\n")));
  await page.getByRole("heading", { level: 1, name: "후기.csv" }).waitFor();
  await page.locator(".preview tbody tr").nth(24).waitFor();
  // The broken row with its line, the empty cell and the row that is there twice with theirs.
  assert.equal(await page.locator(".problems tbody tr td").first().textContent(), "12");
  const notices = await page.locator(".notices li").allTextContents();
  assert.deepEqual(notices.map((notice) => notice.includes("13") || notice.includes("14")), [true, true]);
  const bars = await page.locator(".bars tbody tr").allTextContents();
  assert.match(bars[0], /긍정.*42/);
  assert.match(bars[1], /부정.*20/);
  await here.look("dataset");
  await button("batches.after").click();
  await page.waitForFunction(() => document.querySelector(".preview tbody td")?.textContent === "26");
  page.once("dialog", (dialog) => dialog.accept());
  await button("action.remove").click();
  await page.waitForFunction(() => location.hash === "#/datasets");
  await page.getByRole("heading", { level: 1, name: t("page.datasets") }).waitFor();
}
a_dataset_is_examined_shown_and_removed.settings = 4;

export async function a_file_is_dropped_and_what_is_no_table_is_refused(here) {
  const { page } = here;
  await here.go("/#/datasets");
  const drop = (name, text) => page.evaluate(([name, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name));
    document.querySelector(".drop-zone").dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
  }, [name, text]);
  await drop("nothing.csv", "a,b\n1\n");
  await page.getByRole("alert").waitFor();
  await drop("talk.jsonl", JSON.stringify({ messages: [{ role: "user", content: "안녕" }, { role: "assistant", content: "반가워요" }] }));
  await page.waitForFunction(() => /#\/datasets\/\w+$/.test(location.hash));
  await page.getByText("assistant: 반가워요").waitFor();
  assert.equal(await page.locator(".tag").textContent(), here.t("column.messages"));
}
