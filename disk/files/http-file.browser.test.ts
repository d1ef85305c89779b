import { testHttpFile } from "../testing/http-file-cases.ts";

testHttpFile("browser");
