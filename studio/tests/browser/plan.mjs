// "What would 600B take?", answered while a slider moves.
import assert from "node:assert/strict";

export async function a_slider_says_what_any_size_takes(here) {
  const { page, t, button, field } = here;
  await here.go("/#/plan");
  const devices = async () => Number((await page.getByTestId("plan-devices").textContent()).replace(/\D/g, ""));
  await page.getByTestId("plan-devices").waitFor();
  const large = await devices();
  assert.ok(large > 100, `${large} devices for 600B`);
  assert.ok((await page.locator(".plan-desk .bars tbody tr").count()) >= 4);
  assert.ok((await page.locator(".plan-all tbody tr").count()) >= 5);
  await here.look("plan");
  await button("plan.preset.lab").click();
  await page.waitForFunction((before) => Number(document.querySelector("[data-testid=plan-devices]")?.textContent.replace(/\D/g, "")) < before / 10, large);
  const lab = await devices();
  const size = field("plan.parameters").first();
  await size.fill("1.3B");
  await size.press("Enter");
  await page.waitForFunction(() => [...document.querySelectorAll(".plan-desk input[type=range]")][0].getAttribute("aria-valuetext") === "1.3B");
  const slider = page.getByRole("slider", { name: t("plan.parameters"), exact: true });
  await slider.focus();
  for (let press = 0; press < 3; press += 1) await page.keyboard.press("PageUp");
  await page.waitForFunction((before) => Number(document.querySelector("[data-testid=plan-devices]")?.textContent.replace(/\D/g, "")) > before, lab);
}
a_slider_says_what_any_size_takes.settings = 2;
