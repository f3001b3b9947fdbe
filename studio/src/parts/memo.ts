// Components that are drawn again only when what they are given changes: thousands of turns do not mind a keystroke.
import { Component, h } from "preact";
import type { ComponentType, FunctionComponent } from "preact";

export function memo<P extends object>(part: FunctionComponent<P>): ComponentType<P> {
  return class extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const names = Object.keys(next) as (keyof P)[];
      return names.some((name) => next[name] !== this.props[name]);
    }

    override render() {
      return h(part as FunctionComponent<object>, this.props);
    }
  };
}
