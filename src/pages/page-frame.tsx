import { type ReactNode, useEffect, useRef } from "react";
import { Link } from "wouter";
import { Brand } from "../components/brand.tsx";
import { ThemeButton } from "../components/theme-button.tsx";
import { isFocusLost } from "./focus-lost.ts";
import styles from "./page-frame.module.css";

/** The frame of what comes before a machine: one narrow column, the way back above it. */
export function PageFrame({ title, children }: { title: ReactNode; children: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // What was pressed to come here is gone. In a frame the page around it may have the keyboard, and keeps it.
    if (isFocusLost() && (window.parent === window || document.hasFocus())) heading.current?.focus();
  }, []);
  return (
    <div className={styles.page}>
      <header className={styles.header}>
        <Link href="/" className={styles.home ?? ""} aria-label="Byre: all machines">
          <Brand />
        </Link>
        <ThemeButton />
      </header>
      <main className={styles.main}>
        <h1 className={styles.title} tabIndex={-1} ref={heading}>
          {title}
        </h1>
        {children}
      </main>
    </div>
  );
}
