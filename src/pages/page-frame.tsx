import type { ReactNode } from "react";
import { Link } from "wouter";
import { Brand } from "../components/brand.tsx";
import { ThemeButton } from "../components/theme-button.tsx";
import styles from "./page-frame.module.css";

/** The frame of what comes before a machine: one narrow column, the way back above it. */
export function PageFrame({ title, children }: { title: ReactNode; children: ReactNode }) {
  return (
    <div className={styles.page}>
      <header className={styles.header}>
        <Link href="/" className={styles.home ?? ""} aria-label="Byre: all machines">
          <Brand />
        </Link>
        <ThemeButton />
      </header>
      <main className={styles.main}>
        <h1 className={styles.title}>{title}</h1>
        {children}
      </main>
    </div>
  );
}
