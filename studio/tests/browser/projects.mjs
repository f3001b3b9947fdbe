// Projects: what is saved comes back as it was, whoever saves at the same time.
import assert from "node:assert/strict";

const saved = (page) => page.waitForFunction(() => /\d/.test(document.querySelector("[data-testid=project-state]")?.textContent ?? "") && !document.querySelector("[data-testid=project-state].saving, [data-testid=project-state].failed"));

/** Saves the desk under a name and returns the project's address. */
async function saveAs(here, name) {
  const { page, t, button } = here;
  await page.getByLabel(t("playground.name")).fill(name);
  await button("project.save").click();
  await saved(page);
  return page.url();
}

export async function a_project_reopens_as_it_was(here) {
  const { page, t, button, field } = here;
  await here.go();
  await button("templates.open").click();
  await page.locator(".templates button").first().click();
  await field("examples.query").fill("한 번 더 살 거예요".normalize("NFD"));
  await here.settings();
  await button("preset.creativity").click();
  const address = await saveAs(here, "감정 분류");
  assert.match(address, /#\/playground\/\w{12}$/);
  await here.look("project");
  const other = await here.context.newPage();
  await other.goto(address);
  await other.locator(".rows tbody tr").nth(3).waitFor();
  assert.equal(await other.getByLabel(t("examples.query"), { exact: true }).inputValue(), "한 번 더 살 거예요");
  assert.equal(await other.getByLabel(t("playground.name")).inputValue(), "감정 분류");
  if (here.size === "narrow") await other.locator(".settings-fold > summary").click();
  assert.equal(await other.getByRole("button", { name: t("preset.creativity"), exact: true }).getAttribute("aria-pressed"), "true");
  assert.match(await other.getByTestId("project-state").textContent(), /1/);
  await other.close();
  await page.goto(`${here.server.url}/#/projects`);
  await page.getByRole("link", { name: "감정 분류" }).first().waitFor();
  await here.look("projects");
  await button("projects.duplicate", { name: "감정 분류" }).first().click();
  await page.getByRole("link", { name: "감정 분류 (2)" }).first().waitFor();
  page.once("dialog", (dialog) => void dialog.accept());
  await button("projects.remove", { name: "감정 분류 (2)" }).first().click();
  await page.waitForFunction(() => ![...document.querySelectorAll(".projects strong")].some((name) => name.textContent === "감정 분류 (2)"));
}
a_project_reopens_as_it_was.settings = 2;

export async function changes_save_themselves_and_versions_come_back(here) {
  const { page, t, button, field } = here;
  await here.go();
  await field("chat.system").fill("첫째 줄\n둘째 줄");
  await saveAs(here, "버전");
  await field("chat.system").fill("첫째 줄\n바뀐 줄");
  await page.getByText(t("project.changed"), { exact: true }).waitFor();
  await page.getByText(t("project.current", { version: 2 }), { exact: true }).waitFor({ timeout: 10_000 });
  await button("versions.open").click();
  await page.locator(".versions button", { hasText: t("versions.number", { version: 1 }) }).click();
  await page.locator(".changes ins").first().waitFor();
  assert.deepEqual(await page.locator(".changes del").allTextContents(), ["−   둘째 줄\n"]);
  assert.deepEqual(await page.locator(".changes ins").allTextContents(), ["+   바뀐 줄\n"]);
  await here.look("versions");
  await button("versions.restore").click();
  await page.getByText(t("project.current", { version: 3 }), { exact: true }).waitFor();
  assert.equal(await field("chat.system").inputValue(), "첫째 줄\n둘째 줄");
}
changes_save_themselves_and_versions_come_back.settings = 2;

export async function two_tabs_on_one_project_lose_no_edit(here) {
  const { page, t, button, field } = here;
  await here.go();
  await field("chat.system").fill("처음");
  const address = await saveAs(here, "두 탭");
  const other = await here.context.newPage();
  await other.goto(address);
  const system = other.getByLabel(t("chat.system"), { exact: true });
  await other.waitForFunction(() => document.querySelector(".system textarea")?.value === "처음");
  await system.fill("다른 탭에서");
  await other.getByRole("button", { name: t("project.save"), exact: true }).click();
  await other.getByText(t("project.current", { version: 2 }), { exact: true }).waitFor();
  await field("chat.system").fill("이 탭에서");
  await button("project.save").click();
  await page.getByText(t("project.conflict.about")).waitFor();
  assert.equal(await field("chat.system").inputValue(), "이 탭에서", "what was written is there");
  await here.look("conflict");
  await button("project.conflict.mine").click();
  await page.getByText(t("project.current", { version: 3 }), { exact: true }).waitFor();
  // Theirs is a version, mine the next one.
  const id = address.split("/").at(-1);
  const systems = [];
  for (const version of [1, 2, 3]) systems.push((await (await here.context.request.get(`${here.server.url}/api/studio/projects/${id}/versions/${version}`)).json()).document.system);
  assert.deepEqual(systems, ["처음", "다른 탭에서", "이 탭에서"]);
  await system.fill("또 다른 탭에서");
  await other.getByRole("button", { name: t("project.save"), exact: true }).click();
  await other.getByRole("button", { name: t("project.conflict.theirs"), exact: true }).click();
  await other.waitForFunction(() => document.querySelector(".system textarea")?.value === "이 탭에서");
  await other.close();
}
two_tabs_on_one_project_lose_no_edit.settings = 2;

export async function a_link_is_shared(here) {
  const { page, t, button } = here;
  await here.go();
  const address = await saveAs(here, "공유");
  await button("share.open").click();
  await page.getByLabel(t("share.on")).check();
  assert.equal(await page.getByLabel(t("share.link"), { exact: true }).inputValue(), address);
  await here.look("share");
  await page.waitForFunction(async (id) => (await (await fetch(`/api/studio/projects/${id}`)).json()).shared, address.split("/").at(-1));
}
a_link_is_shared.settings = 2;
