// The first minutes on a new server: a password, an engine that fits, the first token; and signing in later.
import assert from "node:assert/strict";

const PASSWORD = "맑은 샘물 한 바가지";

export async function a_new_server_is_closed_by_a_password_and_answers_at_once(here, world, Server) {
  const begun = Date.now();
  const server = new Server(here.saem);
  server.install("gemma3-270m", "gemma3-270m.gguf");
  await server.start();
  const there = await world(server, { isNew: true });
  const { page, t, button, field, faults, context, look } = there;
  const visitor = await world(server, { isNew: true });
  try {
    await there.go();
    const welcome = page.getByRole("region", { name: t("welcome.title"), exact: true });
    await welcome.getByText(t("engines.free", { size: "" }).trim().split(" ").at(-1)).first().waitFor();
    await look("welcome");
    // What fits is loaded beside what is served, and answers.
    await welcome.getByRole("button", { name: t("engines.open"), exact: true }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(t("engines.served"), { exact: true }).waitFor();
    await dialog.getByText("saem pull qwen2.5-coder-1.5b").waitFor();
    await look("engines");
    await dialog.getByRole("button", { name: t("engines.load", { name: "gemma3-270m" }), exact: true }).click();
    await dialog.waitFor({ state: "detached" });
    assert.equal(await welcome.getByLabel(t("engine.label"), { exact: true }).inputValue(), "gemma3-270m");
    const short = await context.request.post(`${server.url}/api/studio/password`, { data: { password: "short" } });
    assert.equal(short.status(), 400);
    await welcome.getByLabel(t("password.new"), { exact: true }).fill(PASSWORD);
    await button("password.set").click();
    await page.getByText(t("password.isSet"), { exact: true }).first().waitFor();
    await button("welcome.sample").click();
    await page.waitForFunction(() => (document.querySelector(".turn.assistant .said, .incoming .answer")?.textContent.length ?? 0) > 0, undefined, { timeout: 60_000 });
    assert.ok(Date.now() - begun < 60_000, "the first token comes within a minute of the start");
    await page.waitForSelector(".turn.assistant");
    assert.equal(await welcome.count(), 0);
    // The browser keeps a session that scripts cannot read, and nothing else.
    const [cookie] = await context.cookies();
    assert.deepEqual([cookie.httpOnly, cookie.sameSite, (await context.cookies()).length], [true, "Strict", 1]);
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
    assert.ok(!kept.includes(PASSWORD) && !kept.includes(cookie.value), "no secret within reach of scripts");

    // Somebody else has to sign in.
    await visitor.page.goto(server.url);
    await visitor.page.getByRole("heading", { name: t("signIn.titlePassword"), exact: true }).waitFor();
    await visitor.look("sign-in-password");
    await visitor.field("signIn.password").fill("맑은 샘물 두 바가지");
    await visitor.button("signIn.enter").click();
    await visitor.page.getByText(t("signIn.wrong"), { exact: true }).waitFor();
    // As another system's keyboard composes it.
    await visitor.field("signIn.password").fill(PASSWORD.normalize("NFD"));
    await visitor.button("signIn.enter").click();
    await visitor.page.waitForSelector("main.playground");
    assert.equal(await visitor.page.getByRole("region", { name: t("welcome.title") }).count(), 0);

    // A session outlives the server's restart, and ends by signing out.
    await server.stop();
    await server.start();
    await page.reload();
    await page.waitForSelector("main.playground");
    await button("app.leave").click();
    await page.getByRole("heading", { name: t("signIn.titlePassword"), exact: true }).waitFor();
    await page.reload();
    await page.getByRole("heading", { name: t("signIn.titlePassword"), exact: true }).waitFor();
    // A key goes on working.
    const { key } = JSON.parse(server.run("key", "create", "studio", "--json"));
    await page.getByText(t("signIn.byKey"), { exact: true }).click();
    await field("signIn.key").fill(key);
    await page.getByRole("button", { name: t("signIn.enter"), exact: true }).last().click();
    await page.waitForSelector("main.playground");
    assert.deepEqual([...faults, ...visitor.faults], []);
  } finally {
    await context.close();
    await visitor.context.close();
    await server.close();
  }
}
a_new_server_is_closed_by_a_password_and_answers_at_once.settings = 2;

export async function a_password_is_offered_and_never_demanded(here, world, Server) {
  const server = await new Server(here.saem).start();
  const there = await world(server, { isNew: true });
  const { page, t, button, field, faults, context } = there;
  try {
    await there.go();
    await button("welcome.close").first().click();
    assert.equal(await page.getByRole("region", { name: t("welcome.title") }).count(), 0);
    await field("chat.message").fill("Hello");
    await button("action.send").click();
    await page.waitForSelector(".turn.assistant");
    await page.reload();
    await page.waitForSelector(".turn.assistant");
    assert.equal(await page.getByRole("region", { name: t("welcome.title") }).count(), 0);
    // It is there for whoever wants it later.
    await button("password.set").click();
    await field("password.new").fill("a password for later");
    await page.getByRole("dialog").getByRole("button", { name: t("password.set"), exact: true }).click();
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await button("app.leave").waitFor();
    assert.equal((await context.request.get(`${server.url}/api/studio/projects`, { headers: { cookie: "" } })).status(), 401);
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
    await server.close();
  }
}
