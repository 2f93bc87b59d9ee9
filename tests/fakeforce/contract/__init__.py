"""What any Salesforce org promises over HTTP, and the questions that only a real one can answer.

By default the tests run against fakeforce. To run them against a real org (a sandbox, or a Developer org):

    export CONTRACT_URL=https://MYDOMAIN.my.salesforce.com CONTRACT_CLIENT_ID=… CONTRACT_CLIENT_SECRET=…
    export CONTRACT_OBJECT=Thing__c     # an object whose rows may be created and deleted
    export CONTRACT_KEY=Key__c          # its text field with External ID and Unique, 40 characters or more
    export CONTRACT_TEXT=Remark__c      # a text field of 60 characters or more
    export CONTRACT_NUMBER=Amount__c    # a number or currency field with 2 decimal places
    export CONTRACT_DATE=Day__c         # a date field
    export CONTRACT_GROUP=Group__c      # optional: a text field with External ID that is not Unique
    pytest tests/fakeforce/contract --live

The option and all variables are needed, or nothing is sent. The client-credentials app (Setup: External Client App
Manager) must have a user who may create, edit and delete rows of the object; no other field of it may be required.
Every row made has a key that begins with a random prefix; at the end the rows with that prefix are deleted, and no
others. A run makes about 80 jobs and, as long as jobs take seconds, 800 API calls; once it uploads 150 MB.

What is not known of real orgs is asked by the tests marked ``unverified``. At the end a live run prints what the org
answered to each of them, beside what fakeforce answers. Two questions are left that no client can ask: the text of a
job whose batches were retried too often, and what the token endpoint answers when it is called too often.
"""
