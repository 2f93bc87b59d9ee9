// bench/upload.py's contender jsforce: the one file as one job, as its documentation shows, and the results saved.
'use strict';
const fs = require('node:fs');
const jsforce = require('jsforce');

const org = new jsforce.Connection({ instanceUrl: process.env.ORG, accessToken: process.env.TOKEN, version: '66.0' });

async function main() {
  const job = org.bulk2.createJob({ object: 'Sales_Line__c', operation: 'upsert', externalIdFieldName: 'External_ID__c' });
  await job.open();
  await job.uploadData(fs.createReadStream(`${process.env.STAGED}/all.csv`));
  await job.close();
  await job.poll(1000, 600000);
  fs.writeFileSync('logs/success.csv', await job.getSuccessfulResults(true));
  fs.writeFileSync('logs/failed.csv', await job.getFailedResults(true));
  fs.writeFileSync('logs/unprocessed.csv', await job.getUnprocessedRecords(true));
}

main().catch((error) => { console.error(error); process.exit(1); });
