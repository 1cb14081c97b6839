# Greets whoever the task is about: the task's JSON is on stdin, and what is printed is the result.
cat > /dev/null
echo "$GREETING from attempt $SINEW_ATTEMPT"
