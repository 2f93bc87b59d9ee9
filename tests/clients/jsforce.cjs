// One task of jsforce: `node jsforce.cjs '{"task": …, "url": …, "token": …}'` prints its result as JSON.
'use strict';
const fs = require('node:fs');
const jsforce = require('jsforce');

const given = JSON.parse(process.argv[2]);
const org = new jsforce.Connection({ instanceUrl: given.url, accessToken: given.token, version: '66.0' });
const waiting = { pollInterval: 20, pollTimeout: 30000 };

const tasks = {
  load: () => {
    const input = given.file ? fs.createReadStream(given.file) : given.records;
    const job = { object: 'Product2', operation: given.operation, externalIdFieldName: given.key };
    return org.bulk2.loadAndWaitForResults({ ...job, input, ...waiting });
  },
  // The same by its smaller steps, as a long running program does.
  steps: async () => {
    const job = org.bulk2.createJob({ object: 'Product2', operation: given.operation, externalIdFieldName: given.key });
    await job.open();
    await job.uploadData(fs.createReadStream(given.file));
    await job.close();
    await job.poll(waiting.pollInterval, waiting.pollTimeout);
    const raw = [await job.getSuccessfulResults(true), await job.getFailedResults(true), await job.getUnprocessedRecords(true)];
    const info = await job.check();
    await job.delete();
    const gone = await job.check().catch((error) => error.name);
    return { info, raw, gone };
  },
  abort: async () => {
    const job = org.bulk2.createJob({ object: 'Product2', operation: 'insert' });
    await job.open();
    await job.abort();
    return job.check();
  },
  query: () => org.query(given.query),
  pages: async () => {
    let page = await org.query(given.query, { headers: { 'Sforce-Query-Options': 'batchSize=200' }, autoFetch: false });
    const codes = page.records.map((record) => record.ProductCode);
    const sizes = [page.records.length];
    while (!page.done) {
      page = await org.queryMore(page.nextRecordsUrl);
      codes.push(...page.records.map((record) => record.ProductCode));
      sizes.push(page.records.length);
    }
    return { total: page.totalSize, sizes, codes };
  },
  bulkQuery: async () => (await org.bulk2.query(given.query, waiting)).toArray(),
  rows: async () => {
    const product = org.sobject('Product2');
    const made = await product.create({ ProductCode: given.code, Name: 'Made' });
    const again = await product.upsert({ ProductCode: given.code, Name: 'Upserted' }, 'ProductCode');
    const many = await product.create([{ ProductCode: `${given.code}2`, Name: 'Two' }, { ProductCode: `${given.code}3` }]);
    const read = await product.retrieve(made.id);
    const removed = await product.destroy(made.id);
    return { made, again, many, read, removed };
  },
  describe: () => org.sobject('Product2').describe(),
  limits: () => org.limits(),
  identity: () => org.identity(),
};

tasks[given.task]().then(
  (result) => console.log(JSON.stringify({ result, limit: org.limitInfo })),
  (error) => console.log(JSON.stringify({ error: { name: error.name, code: error.errorCode, message: error.message } })),
);
