import { Fragment, useMemo } from "react";
import { type Block, type ListBlock, parseMarkdown } from "./markdown.ts";
import type { Inline } from "./markdown-inline.ts";
import styles from "./markdown-text.module.css";
import { WebLink } from "./web-link.tsx";

export interface MarkdownTextProps {
  /** A stranger's text, as `severalLines` gives it. */
  text: string;
  /** Level of the text's first headings, 2 to 6: below what they stand under. */
  headingLevel: number;
}

/** Text in the Markdown subset of docs/metadata.md, as elements of this page: no markup of its own ever runs. */
export function MarkdownText({ text, headingLevel }: MarkdownTextProps) {
  const blocks = useMemo(() => parseMarkdown(text), [text]);
  return (
    <div className={styles.text} dir="auto">
      {blocks.map((block, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the blocks of a text have nothing else, and never move
        <BlockView key={index} block={block} headingLevel={headingLevel} />
      ))}
    </div>
  );
}

const HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"] as const;

function BlockView({ block, headingLevel }: { block: Block; headingLevel: number }) {
  switch (block.kind) {
    case "heading": {
      const Heading = HEADINGS[Math.min(headingLevel + block.level - 1, 6) - 1] ?? "h6";
      return (
        <Heading className={styles.heading}>
          <Inlines of={block.children} />
        </Heading>
      );
    }
    case "paragraph":
      return (
        <p>
          <Inlines of={block.children} />
        </p>
      );
    case "code":
      return (
        // It scrolls sideways, so the keyboard must reach it.
        // biome-ignore lint/a11y/noNoninteractiveTabindex: see above
        <pre className={styles.code} tabIndex={0}>
          <code>{block.text}</code>
        </pre>
      );
    case "list":
      return <ListView list={block} />;
    case "plain":
      return <p className={styles.plain}>{block.text}</p>;
  }
}

function ListView({ list }: { list: ListBlock }) {
  const items = list.items.map((item, index) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: as above
    <li key={index}>
      <Inlines of={item.children} />
      {item.lists.map((inner, number) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: as above
        <ListView key={number} list={inner} />
      ))}
    </li>
  ));
  return list.start === undefined ? (
    <ul className={styles.bullets}>{items}</ul>
  ) : (
    <ol className={styles.numbers} start={list.start}>
      {items}
    </ol>
  );
}

function Inlines({ of }: { of: readonly Inline[] }) {
  return of.map((inline, index) => (
    // biome-ignore lint/suspicious/noArrayIndexKey: as above
    <Fragment key={index}>
      <InlineView inline={inline} />
    </Fragment>
  ));
}

function InlineView({ inline }: { inline: Inline }) {
  switch (inline.kind) {
    case "text":
      return inline.text;
    case "code":
      return <code>{inline.text}</code>;
    case "break":
      return <br />;
    case "emphasis":
      return (
        <em>
          <Inlines of={inline.children} />
        </em>
      );
    case "strong":
      return (
        <strong>
          <Inlines of={inline.children} />
        </strong>
      );
    case "link":
      return (
        <WebLink url={inline.url}>
          <Inlines of={inline.children} />
        </WebLink>
      );
  }
}
