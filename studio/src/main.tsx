// Where everything begins.
import { render } from "preact";
import { App } from "./pages/app";
import { loadSession } from "./state/account";
import { startCounting } from "./state/counter";
import { loadModels } from "./state/models";
import { startSaving } from "./state/project";

const place = document.getElementById("studio");
if (place) {
  place.replaceChildren();
  render(<App />, place);
  startCounting();
  startSaving();
  void loadSession();
  void loadModels();
}
