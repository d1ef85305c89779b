import { testBlobFile } from "../testing/blob-file-cases.ts";

testBlobFile();
