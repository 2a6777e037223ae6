"""Sample events of the triggers that AWS Lambda handlers know, one file a service.

A public function is one sample: its name is the sample's name (`message_batch` is `message-batch`), the first line of
its docstring is the help. Its keyword-only parameters are the options, its one positional parameter a choice (a
`Literal`); all have defaults of type str, int, float or bool, from which the type of what is written is taken. It
returns what JSON can carry. Where a file has one function, named as the file, the service has only that sample.

The shapes are AWS's; the ids and times are made up and always the same.
"""
