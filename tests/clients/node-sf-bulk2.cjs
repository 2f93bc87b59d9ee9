// An upsert with node-sf-bulk2: `node node-sf-bulk2.cjs '{"url": …, "token": …, "data": …}'` prints what it read back.
'use strict';
const { BulkAPI2, RESULTTYPE } = require('node-sf-bulk2');

const given = JSON.parse(process.argv[2]);

async function main() {
  const bulk = new BulkAPI2({ accessToken: given.token, apiVersion: '66.0', instanceUrl: given.url, isTooling: false });
  const job = { object: 'Product2', operation: 'upsert', externalIdFieldName: 'ProductCode' };
  const made = await bulk.createDataUploadJob(job);
  const uploaded = await bulk.uploadJobData(made.contentUrl, given.data);
  await bulk.closeOrAbortJob(made.id, 'UploadComplete');
  let info;
  do info = await bulk.getIngestJobInfo(made.id);
  while (!['JobComplete', 'Failed', 'Aborted'].includes(info.state));
  const results = [];
  for (const kind of ['successfulResults', 'failedResults', 'unprocessedrecords']) {
    results.push(await bulk.getResults(made.id, RESULTTYPE[kind]));
  }
  const listed = await bulk.getAllIngestJobInfo({ jobType: 'V2Ingest' });
  await bulk.deleteIngestJob(made.id);
  return { uploaded, info, results, listed: listed.records.some((job) => job.id === made.id) };
}

main().then((result) => console.log(JSON.stringify(result)));
