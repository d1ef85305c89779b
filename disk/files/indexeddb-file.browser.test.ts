import { testIndexedDbFile } from "../testing/indexeddb-file-cases.ts";

testIndexedDbFile(10);
