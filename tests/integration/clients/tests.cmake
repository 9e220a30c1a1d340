# Stock clients, unchanged, against brokers on the file store. Debian's packages of them belong to the system's Python.
foreach(client kafka_python librdkafka groups)
  add_test(NAME clients.${client} COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_LIST_DIR}/${client}.py $<TARGET_FILE:floe>)
  set_tests_properties(clients.${client} PROPERTIES LABELS clients TIMEOUT 180)
endforeach()
# The matrix of all clients; FLOE_CLIENTS=all in the environment makes one that is missing a failure.
add_test(NAME clients.matrix COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_LIST_DIR}/matrix.py $<TARGET_FILE:floe>)
set_tests_properties(clients.matrix PROPERTIES LABELS clients TIMEOUT 1800
  ENVIRONMENT "FLOE_MATRIX_OUT=${CMAKE_BINARY_DIR}/client-matrix.txt")
add_test(NAME clients.matrix_cluster COMMAND ${CMAKE_SOURCE_DIR}/tests/support/s3server run
  /usr/bin/python3 -B ${CMAKE_CURRENT_LIST_DIR}/matrix.py $<TARGET_FILE:floe> --cluster)
set_tests_properties(clients.matrix_cluster PROPERTIES LABELS clients TIMEOUT 1800
  ENVIRONMENT "FLOE_MATRIX_OUT=${CMAKE_BINARY_DIR}/client-matrix-cluster.txt")
foreach(name groups_consumer groups_migrate)
  add_test(NAME clients.${name} COMMAND /usr/bin/python3 -B ${CMAKE_CURRENT_LIST_DIR}/matrix.py $<TARGET_FILE:floe>
    --python ${name}.py)
  set_tests_properties(clients.${name} PROPERTIES LABELS clients TIMEOUT 1800)
endforeach()
