import "fake-indexeddb/auto";
import { testImportingFile } from "../testing/importing-file-cases.ts";

testImportingFile();
