import { Component, type ReactNode } from "react";
import { Button } from "../components/button.tsx";
import { Notice } from "../components/notice.tsx";
import styles from "./page-failure.module.css";

/**
 * Shows what went wrong where drawing the page failed, which would leave nothing of it. A machine is no part of what is
 * drawn: it goes on, and is there again when the page is.
 */
export class PageFailure extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: undefined };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return (
      <main className={styles.page}>
        <h1>The page failed</h1>
        <Notice
          tone="danger"
          title="This is a fault of Byre"
          code={String(error)}
          actions={
            <Button look="primary" onPress={() => this.setState({ error: undefined })}>
              Show the page again
            </Button>
          }
        >
          A machine that is on goes on, and comes back with the page.
        </Notice>
      </main>
    );
  }
}
