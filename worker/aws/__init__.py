"""AWS, one service a file. Nothing above this layer sees a boto3 object or a botocore error."""
