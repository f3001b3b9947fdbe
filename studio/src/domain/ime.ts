// One Enter, one message, also while a syllable is being composed.
//
// A Korean input method composes the last syllable until another key ends it, so whoever types 안녕하세요 and presses
// Enter is composing still. To ignore that Enter makes everyone press it twice; to send at once sends the syllable
// without what comes after. So the key is remembered and the message goes out when the syllable is complete. Where Enter
// chooses among candidates (kana, pinyin) it belongs to the input method.

const HANGUL = /[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]/;

type KeyEvent = Pick<KeyboardEvent, "isComposing" | "preventDefault">;

export class Composition {
  private text = "";
  private waiting: (() => void) | null = null;

  start = (): void => {
    this.text = "";
    this.waiting = null;
  };

  update = (event: Pick<CompositionEvent, "data">): void => {
    this.text = event.data;
  };

  /** Runs what a key asked for while the syllable was composed: in a task of its own, after the field has its text. */
  end = (): void => {
    const action = this.waiting;
    this.waiting = null;
    this.text = "";
    if (action) setTimeout(action, 0);
  };

  /** A key that does `action`. Returns whether the key was taken. */
  key(event: KeyEvent, action: () => void): boolean {
    if (!event.isComposing) {
      event.preventDefault();
      action();
      return true;
    }
    if (!HANGUL.test(this.text)) return false;
    event.preventDefault();
    this.waiting = action;
    return true;
  }

  /** What a text field listens to. */
  get handlers() {
    return { onCompositionStart: this.start, onCompositionUpdate: this.update, onCompositionEnd: this.end };
  }
}
