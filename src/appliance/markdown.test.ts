import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MAX_MARKDOWN_PARTS, parseMarkdown } from "./markdown.ts";
import type { Inline } from "./markdown-inline.ts";

/** Blocks as a short text, to compare by eye. */
function outline(markdown: string): string {
  const list = (block: Extract<ReturnType<typeof parseMarkdown>[number], { kind: "list" }>): string =>
    `${block.start === undefined ? "ul" : `ol${block.start}`}(${block.items
      .map(({ children, lists }) => [inlines(children), ...lists.map(list)].join(" "))
      .join(" | ")})`;
  return parseMarkdown(markdown)
    .map((block) => {
      if (block.kind === "heading") return `h${block.level}(${inlines(block.children)})`;
      if (block.kind === "paragraph") return `p(${inlines(block.children)})`;
      return block.kind === "list" ? list(block) : `${block.kind}(${block.text})`;
    })
    .join(" ");
}

function inlines(children: readonly Inline[]): string {
  return children
    .map((child) => {
      switch (child.kind) {
        case "text":
          return child.text;
        case "code":
          return `code(${child.text})`;
        case "break":
          return "/";
        case "link":
          return `a(${child.url}: ${inlines(child.children)})`;
        default:
          return `${child.kind === "strong" ? "b" : "i"}(${inlines(child.children)})`;
      }
    })
    .join("");
}

describe("Markdown", () => {
  it.each([
    ["one\ntwo\n\nthree", "p(one two) p(three)"],
    ["# Title\ntext", "h1(Title) p(text)"],
    ["# One #\n#### Four\n# One", "h1(One) h2(Four) h1(One)"],
    ["#no heading", "p(#no heading)"],
    ["- a\n- b\n  - c\n- d", "ul(a | b ul(c) | d)"],
    ["3. a\n\n4. b\n\ntext", "ol3(a | b) p(text)"],
    ["- a\n1. b", "ul(a) ol1(b)"],
    ["- a\n  more\n- b", "ul(a more | b)"],
    ["```sh\nls *\n\n# x\n```\nafter", "code(ls *\n\n# x) p(after)"],
    ["```\nno end", "code(no end)"],
    ["one  \ntwo\\\nthree", "p(one/two/three)"],
    ["*a* _b_ **c** __d__ ***e***", "p(i(a) i(b) b(c) b(d) b(i(e)))"],
    ["**bold *both* bold**", "p(b(bold i(both) bold))"],
    ["file_name_here 2 * 3 * 4", "p(file_name_here 2 * 3 * 4)"],
    ["*not ended **nor this", "p(*not ended **nor this)"],
    ["\\*plain\\* \\q", "p(*plain* \\q)"],
    ["`a*b*` and `` ` ``", "p(code(a*b*) and `code( ) ``)"],
    ["[text](https://example.org/a)", "p(a(https://example.org/a: text))"],
    ["[**b** `c`](http://example.org)", "p(a(http://example.org/: b(b) code(c)))"],
    [
      "<https://example.org/>, https://example.org/x.",
      "p(a(https://example.org/: https://example.org/), a(https://example.org/x: https://example.org/x).)",
    ],
    ["![a picture](https://example.org/p.png)", "p(a(https://example.org/p.png: a picture))"],
    ["[no] (link) [", "p([no] (link) [)"],
  ])("reads %j", (markdown, expected) => {
    expect(outline(markdown)).toBe(expected);
  });

  it.each([
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:x)",
    "[x](//example.org/)",
    "[x](/local)",
    "[x](https:example.org)",
    "[x](https://user:pass@example.org/)",
    "[x](http:///)",
    "<javascript:alert(1)>",
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "[x](\u0001javascript:alert(1))",
  ])("leaves %j as it is written", (text) => {
    expect(parseMarkdown(text)).toEqual([{ kind: "paragraph", children: [{ kind: "text", text }] }]);
  });

  it("shows the host of an address as the browser would ask for it", () => {
    expect(outline("[bank](https://bаnk.example/)")).toContain("https://xn--bnk-6cd.example/");
  });

  it.each([
    ["stars", "*"],
    ["stars with words", "*a "],
    ["emphasis", "*a*"],
    ["strong emphasis", "**a** "],
    ["brackets", "["],
    ["links", "[a](https://example.org)"],
    ["half links", "[a]("],
    ["nested links", "[*"],
    ["backticks", "`"],
    ["code", "`a`"],
    ["underscores", "_a"],
    ["angles", "<https://"],
    ["addresses", "https://a "],
    ["lists", "- a\n"],
    ["deep lists", "- a\n   - b\n       - c\n"],
    ["headings", "# a\n"],
    ["fences", "```\n"],
    ["lines", "\n"],
    ["paragraphs", "a\n\n"],
    ["spaces", " "],
    ["escapes", "\\"],
    ["hashes", "#"],
    ["heading ends", "# a #"],
  ])("reads 1 MiB of %s at once and makes a bounded page of it", (_, piece) => {
    const text = piece.repeat(Math.ceil((1024 * 1024) / piece.length));
    const before = performance.now();
    const blocks = parseMarkdown(text);
    // Far above what it takes on a busy machine; in time that grows with the square it would be minutes.
    expect(performance.now() - before).toBeLessThan(10_000);
    // Each part is an object or two, with a list of what is in it.
    expect(count(blocks)).toBeLessThan(8 * MAX_MARKDOWN_PARTS);
  });

  it.each([
    ["spaces, then many lines", 1, `a${" ".repeat(30_000)}b${"\nc".repeat(15_000)}`],
    ["many lines", 20, "a\n".repeat(32_000)],
    ["a heading with spaces inside", 40, `# x${" ".repeat(64_000)}y`],
    ["a heading with hashes inside", 40, `# x${"#".repeat(64_000)}y`],
    [
      "addresses that are refused, and marks",
      40,
      `${"http://u@".repeat(74)}${".".repeat(1300)}a `.repeat(32),
    ],
  ])("reads %s at once", (_, times, text) => {
    const before = performance.now();
    for (let time = 0; time < times; time++) parseMarkdown(text);
    // Each took more than a minute when trimming looked through what was read before.
    expect(performance.now() - before).toBeLessThan(10_000);
  });

  it.each([
    ["# x ## #", "h1(x ##)"],
    ["# x # ", "h1(x #)"],
    ["# ##", "h1()"],
    [" #\t x\t", "h1(x)"],
    ["see http://u@x.y/http://z, *b*", "p(see http://u@x.y/http://z, i(b))"],
    ["http://u@[a](https://x.y)", "p(http://u@a(https://x.y/: a))"],
    ["http://u@a https://x.y?!", "p(http://u@a a(https://x.y/: https://x.y)?!)"],
    ["`a`  \n`b` \n*c*\\\n d", "p(code(a)/code(b) i(c)/d)"],
  ])("reads %j to its end", (markdown, expected) => {
    expect(outline(markdown)).toBe(expected);
  });

  it("takes no deeper nesting than it shows", () => {
    const depth = (value: unknown): number =>
      Array.isArray(value)
        ? Math.max(0, ...value.map(depth))
        : typeof value === "object" && value !== null
          ? 1 + Math.max(0, ...Object.values(value).map(depth))
          : 0;
    const bomb = Array.from({ length: 1000 }, (_, level) => `${" ".repeat(level * 2)}- **a *b `).join("\n");
    expect(depth(parseMarkdown(bomb))).toBeLessThan(20);
    expect(depth(parseMarkdown("*a **b ".repeat(1000) + "c** d*".repeat(1000)))).toBeLessThan(20);
  });

  it("loses no word, whatever it is given", () => {
    const marks = ["*", "**", "_", "`", "[", "](", ")", "](https://a.b)", "<", ">", "\\", "\n", "\n\n", "- "];
    const others = ["  - ", "1. ", "# ", "\n```\n", "  ", "!", "h", "https://x.y", " word"];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...marks, ...others), { maxLength: 60 }), (pieces) => {
        // Each word has a number, so that one cannot stand in for another.
        const markdown = pieces
          .map((piece, index) => (piece === " word" ? ` word${index}.` : piece))
          .join("");
        const words = (text: string) => new Set(text.match(/word\d+\./g));
        expect(words(JSON.stringify(parseMarkdown(markdown)))).toEqual(words(markdown));
      }),
      { numRuns: 500 },
    );
  });
});

function count(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Object.values(value).reduce<number>((sum, item) => sum + count(item), 0);
}
